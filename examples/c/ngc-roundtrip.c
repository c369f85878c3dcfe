/* Encodes frames of application memory to NGC, and decodes them, through GStreamer's C API.
 *
 *   ngc-roundtrip [QUALITY]
 *
 * It prints the bytes of the stream and the luma PSNR of what came back. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <gst/app/gstappsink.h>
#include <gst/app/gstappsrc.h>
#include <gst/gst.h>

enum { WIDTH = 128, HEIGHT = 96, FRAMES = 10, RATE = 25, LUMA = WIDTH * HEIGHT, SIZE = LUMA * 3 / 2 };

#define CAPS "video/x-raw,format=I420,width=128,height=96,framerate=25/1"

/* A pattern that moves to the right. WIDTH, a multiple of four, is also the stride. */
static void
draw (guint8 * frame, int number)
{
  for (int y = 0; y < HEIGHT; y++)
    for (int x = 0; x < WIDTH; x++)
      frame[y * WIDTH + x] = (guint8) (128 + 60 * sin ((x - 2 * number) / 9.0) * cos (y / 11.0));
  for (int i = LUMA; i < SIZE; i++)
    frame[i] = 128;
}

static gboolean
push_frames (GstAppSrc * source)
{
  for (int number = 0; number < FRAMES; number++) {
    guint8 *frame = g_malloc (SIZE);
    draw (frame, number);
    /* The buffer takes the memory over, and frees it. */
    GstBuffer *buffer = gst_buffer_new_wrapped (frame, SIZE);
    GST_BUFFER_PTS (buffer) = gst_util_uint64_scale (number, GST_SECOND, RATE);
    GST_BUFFER_DURATION (buffer) = GST_SECOND / RATE;
    if (gst_app_src_push_buffer (source, buffer) != GST_FLOW_OK)
      return FALSE;
  }
  return gst_app_src_end_of_stream (source) == GST_FLOW_OK;
}

/* Adds up squared differences of luma; gives the number of frames. */
static int
compare (GstAppSink * sink, double *sum)
{
  static guint8 original[SIZE];
  GstSample *sample;
  int frames = 0;
  while ((sample = gst_app_sink_try_pull_sample (sink, 30 * GST_SECOND))) {
    GstMapInfo map;
    if (gst_buffer_map (gst_sample_get_buffer (sample), &map, GST_MAP_READ)) {
      draw (original, frames);
      for (gsize i = 0; i < LUMA && i < map.size; i++)
        *sum += pow ((double) map.data[i] - original[i], 2);
      gst_buffer_unmap (gst_sample_get_buffer (sample), &map);
      frames++;
    }
    gst_sample_unref (sample);
  }
  return frames;
}

/* The bytes that pass the parser. */
static GstPadProbeReturn
count (GstPad * pad, GstPadProbeInfo * info, gpointer bytes)
{
  (void) pad;
  *(gsize *) bytes += gst_buffer_get_size (GST_PAD_PROBE_INFO_BUFFER (info));
  return GST_PAD_PROBE_OK;
}

int
main (int argc, char **argv)
{
  gst_init (&argc, &argv);
  int quality = argc > 1 ? atoi (argv[1]) : 24;
  if (quality < 0 || quality > 63) {
    fprintf (stderr, "ngc-roundtrip: quality goes from 0 (best) to 63\n");
    return 2;
  }
  GError *error = NULL;
  GstElement *pipeline = gst_parse_launch ("appsrc name=in format=time caps=" CAPS " ! ngcenc name=encoder ! ngcparse name=parser"
      " ! ngcdec ! video/x-raw,format=I420 ! appsink name=out sync=false", &error);
  if (!pipeline || error) {
    fprintf (stderr, "ngc-roundtrip: %s\n", error ? error->message : "no pipeline");
    return 4;
  }
  GstElement *source = gst_bin_get_by_name (GST_BIN (pipeline), "in");
  GstElement *sink = gst_bin_get_by_name (GST_BIN (pipeline), "out");
  GstElement *encoder = gst_bin_get_by_name (GST_BIN (pipeline), "encoder");
  GstElement *parser = gst_bin_get_by_name (GST_BIN (pipeline), "parser");
  g_object_set (encoder, "quality", (guint) quality, NULL);
  gsize bytes = 0;
  GstPad *pad = gst_element_get_static_pad (parser, "src");
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, count, &bytes, NULL);

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  double sum = 0;
  gboolean pushed = push_frames (GST_APP_SRC (source));
  int frames = pushed ? compare (GST_APP_SINK (sink), &sum) : 0;
  GstBus *bus = gst_element_get_bus (pipeline);
  GstMessage *message = gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR);
  if (message) {
    gst_message_parse_error (message, &error, NULL);
    fprintf (stderr, "ngc-roundtrip: %s\n", error->message);
    g_clear_error (&error);
    gst_message_unref (message);
  }
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (bus);
  gst_object_unref (pad);
  gst_object_unref (parser);
  gst_object_unref (encoder);
  gst_object_unref (sink);
  gst_object_unref (source);
  gst_object_unref (pipeline);
  if (frames != FRAMES) {
    fprintf (stderr, "ngc-roundtrip: %d frames came back of %d\n", frames, FRAMES);
    return 5;
  }
  double mean = sum / ((double) FRAMES * LUMA);
  printf ("ngc-roundtrip: %d frames, %zu bytes, psnr_y=%.2f\n", frames, bytes, 10 * log10 (255.0 * 255.0 / fmax (mean, 1e-9)));
  return 0;
}
