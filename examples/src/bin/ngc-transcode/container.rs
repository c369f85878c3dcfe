//! The two containers, and what their muxers take.

use std::path::Path;

use ngc_examples::{Failure, Kind};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    Mp4,
    Matroska,
}

impl Container {
    /// By a file's extension.
    ///
    /// # Errors
    /// [`Kind::Usage`] for others.
    pub fn of(path: &Path) -> Result<Self, Failure> {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        match extension.as_str() {
            "mp4" | "m4v" | "mov" => Ok(Self::Mp4),
            "mkv" => Ok(Self::Matroska),
            _ => Err(Failure::new(Kind::Usage, format!("{}: the output's name must end in .mp4 or .mkv", path.display()))),
        }
    }

    pub fn muxer(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4mux",
            Self::Matroska => "matroskamux",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Mp4 => "MP4",
            Self::Matroska => "Matroska",
        }
    }
}

/// The caps that pads of an element's factory take or give, by template.
///
/// # Errors
/// [`Kind::Plugin`] where the element is missing.
pub fn template(element: &str, name: &str) -> Result<gst::Caps, Failure> {
    let factory = gst::ElementFactory::find(element)
        .ok_or_else(|| ngc_examples::missing(element, "install GStreamer's plugin sets base, good and bad"))?;
    let template = factory.static_pad_templates().into_iter().find(|t| t.name_template() == name);
    Ok(template.map_or_else(gst::Caps::new_empty, |t| t.caps()))
}
