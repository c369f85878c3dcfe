//! A blind two-alternative study in the article's manner: one self-contained web page, and the table of its answers.

mod media;
mod sign_test;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use indicatif::ProgressIterator;
use serde::{Deserialize, Serialize};

pub use table::{TableArgs, run as table};

/// The page; the marker is replaced by the study as JSON.
const PAGE: &str = include_str!("page.html");
const MARKER: &str = "/*STUDY*/null";

#[derive(Args)]
pub struct StudyArgs {
    /// The study: a TOML file with one `[[question]]` for each pair (docs/study.md).
    file: PathBuf,
    /// The page to write.
    #[arg(long)]
    out: PathBuf,
    /// Seconds of each clip, looped.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Frames per second of the clips.
    #[arg(long, default_value_t = 25.0)]
    fps: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StudyFile {
    name: String,
    question: Vec<Question>,
}

/// One pair to choose from.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    id: String,
    original: PathBuf,
    a: Method,
    b: Method,
    /// The method that an attentive rater must choose: `a` or `b`.
    golden: Option<Side>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Side {
    A,
    B,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Method {
    name: String,
    file: PathBuf,
}

/// What the page holds.
#[derive(Serialize)]
struct Page {
    name: String,
    questions: Vec<PageQuestion>,
}

#[derive(Serialize)]
struct PageQuestion {
    id: String,
    original: String,
    a: PageMethod,
    b: PageMethod,
    golden: Option<Side>,
}

#[derive(Serialize)]
struct PageMethod {
    name: String,
    video: String,
}

/// Builds the page.
///
/// # Errors
/// Naming the study, the question or the video at fault.
pub fn run(args: &StudyArgs) -> Result<()> {
    ensure!(args.seconds > 0.0 && args.fps > 0.0, "--seconds and --fps must be positive");
    gst::init()?;
    let text = std::fs::read_to_string(&args.file).with_context(|| format!("study {}", args.file.display()))?;
    let study: StudyFile = toml::from_str(&text).with_context(|| format!("study {}", args.file.display()))?;
    ensure!(!study.question.is_empty(), "study {}: no [[question]]", args.file.display());
    let folder = args.file.parent().unwrap_or(Path::new("."));
    let frames = (args.seconds * args.fps).round().max(1.0) as usize;
    let mut questions = Vec::new();
    for question in study.question.iter().progress() {
        ensure!(
            !questions.iter().any(|q: &PageQuestion| q.id == question.id),
            "study {}: two questions are called {:?}",
            args.file.display(),
            question.id
        );
        let embed = |file: &Path| {
            media::data_uri(&folder.join(file), frames, args.fps).with_context(|| format!("question {}", question.id))
        };
        let method = |m: &Method| Ok::<_, anyhow::Error>(PageMethod { name: m.name.clone(), video: embed(&m.file)? });
        questions.push(PageQuestion {
            id: question.id.clone(),
            original: embed(&question.original)?,
            a: method(&question.a)?,
            b: method(&question.b)?,
            golden: question.golden,
        });
    }
    // A "<" within a script could end it.
    let json = serde_json::to_string(&Page { name: study.name, questions })?.replace('<', "\\u003c");
    std::fs::write(&args.out, PAGE.replacen(MARKER, &json, 1)).with_context(|| args.out.display().to_string())?;
    println!("{}: {} questions", args.out.display(), study.question.len());
    Ok(())
}
