//! `encodebin`, through which editors and recorders encode.

use ngc_tests::pipes::{launch, run, shown};

const SOURCE: &str = "videotestsrc num-buffers=5 ! video/x-raw,format=I420,width=64,height=48,framerate=25/1";

#[test]
fn a_profile_of_the_raw_stream_works() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file.ngc");
    run(&format!("{SOURCE} ! encodebin profile=\"video/x-ngc\" ! filesink location=\"{}\"", path.display())).unwrap();
    let frames = shown(&format!("filesrc location=\"{}\" ! ngcparse ! ngcdec threads=1", path.display())).unwrap();
    assert_eq!(frames.len(), 5);
}

#[test]
fn profiles_of_containers_are_refused_at_once() {
    // encodebin asks muxers for the type itself, and none of them knows it (docs/pipelines.md).
    for profile in ["video/quicktime,variant=iso:video/x-ngc", "video/x-matroska:video/x-ngc"] {
        launch(SOURCE.split(" ! ").next().unwrap());
        let error =
            gst::parse::launch(&format!("{SOURCE} ! encodebin profile=\"{profile}\" ! fakesink")).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("link"), "{error}");
    }
}
