//! Subtitles as plain text: demuxers may give them with markup, which muxers do not take.

use gst::prelude::*;
use ngc_examples::{Failure, make};

use crate::container::Container;
use crate::convert::{Chain, link, queue};

/// Longest subtitle that is looked at, in bytes; longer ones pass as they are.
const LONGEST: usize = 1 << 20;

/// Turns subtitles with or without markup into plain UTF-8. Matroska's players know `<i>` and `<b>`; MP4's do not.
///
/// # Errors
/// [`ngc_examples::Kind::Plugin`].
pub fn chain(pipeline: &gst::Pipeline, container: Container) -> Result<Chain, Failure> {
    let entrance = queue()?;
    // The caps of the stream are not known before the element is linked, and the muxer takes only these.
    let exit = make("capssetter")?;
    exit.set_property("caps", gst::Caps::builder("text/x-raw").field("format", "utf8").build());
    exit.set_property("join", false);
    exit.set_property("replace", true);
    link(pipeline, &[entrance.clone(), exit.clone()])?;
    if let Some(pad) = entrance.static_pad("sink") {
        let keep_tags = container == Container::Matroska;
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            if has_markup(pad)
                && let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data
                && let Some(text) = plain_buffer(buffer, keep_tags)
            {
                *buffer = text;
            }
            gst::PadProbeReturn::Ok
        });
    }
    Ok(Chain { entrance: Some(entrance), exit })
}

fn has_markup(pad: &gst::Pad) -> bool {
    let caps = pad.current_caps();
    let format = caps.as_ref().and_then(|c| c.structure(0)).and_then(|s| s.get::<String>("format").ok());
    format.as_deref() == Some("pango-markup")
}

fn plain_buffer(buffer: &gst::Buffer, keep_tags: bool) -> Option<gst::Buffer> {
    let map = buffer.map_readable().ok().filter(|map| map.len() <= LONGEST)?;
    let text = std::str::from_utf8(&map).ok()?;
    let mut new = gst::Buffer::from_slice(plain(text, keep_tags).into_bytes());
    buffer.copy_into(new.get_mut()?, gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS, ..).ok()?;
    Some(new)
}

/// Markup as plain text: entities become characters, and tags go, unless they are kept.
fn plain(text: &str, keep_tags: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let tag = (c == '<' && !keep_tags).then(|| rest.find('>')).flatten();
        if let Some(end) = tag {
            rest = &rest[end + 1..];
            continue;
        }
        if c == '&'
            && let Some((entity, character)) = ENTITIES.iter().find(|(entity, _)| rest.starts_with(entity))
        {
            out.push(*character);
            rest = &rest[entity.len()..];
            continue;
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

const ENTITIES: [(&str, char); 6] =
    [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>'), ("&quot;", '"'), ("&apos;", '\''), ("&#39;", '\'')];

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn markup_becomes_text() {
        assert_eq!(plain("<i>a &amp; b</i> &lt; ü", false), "a & b < ü");
        assert_eq!(plain("<i>a &amp; b</i>", true), "<i>a & b</i>");
        assert_eq!(plain("1 < 2 &unknown; &", false), "1 < 2 &unknown; &");
    }
}
