//! Answers of many raters as a table with sign tests.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Deserialize;

use super::sign_test::p_value;

#[derive(Args)]
pub struct TableArgs {
    /// Result files that raters have saved.
    #[arg(required = true)]
    results: Vec<PathBuf>,
    /// Also write the table as CSV.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Raters who fail more golden questions than this do not count.
    #[arg(long, default_value_t = 0)]
    allowed_failures: usize,
}

/// One rater's answers, as the page saves them.
#[derive(Deserialize)]
struct ResultFile {
    rater: String,
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    question: String,
    chosen: String,
    other: String,
    /// Whether a golden question was answered as it should be; absent on others.
    golden: Option<bool>,
}

/// Votes of a pair of methods; the first in alphabetical order is `first`.
#[derive(Debug, Default, PartialEq)]
struct Pair {
    votes: [u64; 2],
    /// Votes by clip.
    clips: BTreeMap<String, [u64; 2]>,
}

impl Pair {
    /// Clips that each method won, and ties.
    fn clip_wins(&self) -> ([u64; 2], u64) {
        let mut wins = [0, 0];
        let mut ties = 0;
        for votes in self.clips.values() {
            match votes[0].cmp(&votes[1]) {
                std::cmp::Ordering::Greater => wins[0] += 1,
                std::cmp::Ordering::Less => wins[1] += 1,
                std::cmp::Ordering::Equal => ties += 1,
            }
        }
        (wins, ties)
    }
}

type Pairs = BTreeMap<(String, String), Pair>;

/// Counts the answers of raters who passed; gives back the names of those who did not.
fn count(results: &[ResultFile], allowed_failures: usize) -> (Pairs, Vec<&str>) {
    let (mut pairs, mut dropped) = (Pairs::new(), Vec::new());
    for result in results {
        if result.answers.iter().filter(|a| a.golden == Some(false)).count() > allowed_failures {
            dropped.push(result.rater.as_str());
            continue;
        }
        for answer in result.answers.iter().filter(|a| a.golden.is_none()) {
            let first_chosen = answer.chosen < answer.other;
            let (first, second) = if first_chosen { (&answer.chosen, &answer.other) } else { (&answer.other, &answer.chosen) };
            let pair = pairs.entry((first.clone(), second.clone())).or_default();
            let side = usize::from(!first_chosen);
            pair.votes[side] += 1;
            pair.clips.entry(answer.question.clone()).or_default()[side] += 1;
        }
    }
    (pairs, dropped)
}

fn csv(pairs: &Pairs) -> Result<String> {
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record([
        "first",
        "second",
        "votes_first",
        "votes_second",
        "p_votes",
        "clips_first",
        "clips_second",
        "ties",
        "p_clips",
    ])?;
    for ((first, second), pair) in pairs {
        let (wins, ties) = pair.clip_wins();
        let p = |[a, b]: [u64; 2]| format!("{:.4}", p_value(a, b));
        let [votes_first, votes_second] = pair.votes.map(|v| v.to_string());
        let [clips_first, clips_second] = wins.map(|v| v.to_string());
        let (p_votes, ties, p_clips) = (p(pair.votes), ties.to_string(), p(wins));
        out.write_record([first, second, &votes_first, &votes_second, &p_votes, &clips_first, &clips_second, &ties, &p_clips])?;
    }
    Ok(String::from_utf8(out.into_inner()?)?)
}

/// Prints the table.
///
/// # Errors
/// Naming the file that cannot be read, or written.
pub fn run(args: &TableArgs) -> Result<()> {
    let mut results = Vec::new();
    for path in &args.results {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        results.push(serde_json::from_str(&text).with_context(|| format!("{}: not a result file of a study", path.display()))?);
    }
    let (pairs, dropped) = count(&results, args.allowed_failures);
    println!("{} raters, {} dropped for failing golden questions{}", results.len(), dropped.len(), names(&dropped));
    if pairs.is_empty() {
        bail!("no answers are left");
    }
    for ((first, second), pair) in &pairs {
        let (wins, ties) = pair.clip_wins();
        println!("\n{first} against {second}");
        println!("  votes  {:>4} : {:<4} p = {:.4}", pair.votes[0], pair.votes[1], p_value(pair.votes[0], pair.votes[1]));
        println!("  clips  {:>4} : {:<4} p = {:.4}, {ties} ties", wins[0], wins[1], p_value(wins[0], wins[1]));
        for (clip, votes) in &pair.clips {
            println!("    {clip:<24} {:>3} : {}", votes[0], votes[1]);
        }
    }
    if let Some(out) = &args.out {
        std::fs::write(out, csv(&pairs)?).with_context(|| out.display().to_string())?;
    }
    Ok(())
}

fn names(dropped: &[&str]) -> String {
    if dropped.is_empty() { String::new() } else { format!(": {}", dropped.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(question: &str, chosen: &str, other: &str, golden: Option<bool>) -> Answer {
        Answer { question: question.into(), chosen: chosen.into(), other: other.into(), golden }
    }

    #[test]
    fn careless_raters_do_not_count_and_clips_are_won_by_majority() {
        let rater = |rater: &str, attentive, choices: [&str; 2]| ResultFile {
            rater: rater.into(),
            answers: [
                answer("gold", "good", "bad", Some(attentive)),
                answer("one", choices[0], if choices[0] == "x" { "y" } else { "x" }, None),
                answer("two", choices[1], if choices[1] == "x" { "y" } else { "x" }, None),
            ]
            .into(),
        };
        let results = [
            rater("a", true, ["x", "y"]),
            rater("b", true, ["x", "x"]),
            rater("c", true, ["x", "y"]),
            rater("d", false, ["y", "y"]),
        ];
        let (pairs, dropped) = count(&results, 0);
        assert_eq!(dropped, ["d"]);
        let pair = &pairs[&("x".to_owned(), "y".to_owned())];
        assert_eq!(pair.votes, [4, 2]);
        assert_eq!(pair.clip_wins(), ([1, 1], 0));
        assert_eq!(count(&results, 1).0.values().next().unwrap().votes, [4, 4]);
        let table = csv(&pairs).unwrap();
        assert!(table.contains("x,y,4,2,0.6875,1,1,0,1.0000"), "{table}");
    }
}
