//! `rtp-send` and `rtp-receive`: packets are lost, keyframes are asked for over RTCP, the picture is soon back, and both tell how it goes.

mod common;

use std::process::{Output, Stdio};

use common::{Folder, program, text};
use serde_json::Value;

/// Ports that nobody uses at the moment: one for packets, those beside it for reports.
fn port() -> String {
    let free = |port: u16| [0, 1, 3].iter().all(|offset| std::net::UdpSocket::bind(("127.0.0.1", port + offset)).is_ok());
    let start = 20_000 + (std::process::id() % 4000) as u16 * 8;
    (0..500).map(|n| start + n * 4).find(|&port| free(port)).expect("free ports").to_string()
}

fn last_line(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(output));
    serde_json::from_str(String::from_utf8_lossy(&output.stdout).lines().last().unwrap()).unwrap()
}

#[test]
fn five_percent_loss_does_not_last() {
    let _folder = Folder::new();
    // Two minutes, or twelve seconds.
    let seconds = if std::env::var_os("NGC_LONG").is_some() { 120 } else { 12 };
    let port = port();
    let mut receive = program(env!("CARGO_BIN_EXE_rtp-receive"));
    receive.args(["--no-display", "--json", "--port", &port, "--seconds", &(seconds + 8).to_string()]);
    receive.stdout(Stdio::piped()).stderr(Stdio::piped());
    let receive = receive.spawn().unwrap();
    let mut send = program(env!("CARGO_BIN_EXE_rtp-send"));
    send.args(["--json", "--port", &port, "--seconds", &(seconds + 2).to_string(), "--loss", "5%", "--seed", "3"]);
    send.args(["--test-picture", "128x72@20", "--bitrate", "100"]);
    // The receiver must listen by then.
    std::thread::sleep(std::time::Duration::from_secs(4));
    let send = send.output().unwrap();
    let receive = receive.wait_with_output().unwrap();
    let (sent, got) = (last_line(&send), last_line(&receive));
    let number = |v: &Value, name: &str| v[name].as_f64().unwrap_or_else(|| panic!("{name}: {v}"));
    println!("{sent}\n{got}");

    // Something was lost, and noticed.
    let (lost, packets) = (number(&sent, "lost"), number(&sent, "packets"));
    assert!(lost > packets * 0.02 && lost < packets * 0.1, "{sent}");
    assert!(number(&got, "outages") >= 2.0 && number(&got, "damaged_frames") >= 2.0, "{sent} {got}");
    // Some of it came again when it was asked for.
    assert!(number(&got, "packets_that_came_again") >= 1.0, "{got}");
    // Where that did not help, requests for keyframes went over RTCP, and were answered by keyframes.
    assert!(number(&got, "requests") >= number(&got, "outages") * 0.8, "{got}");
    assert!(number(&sent, "requests") >= number(&got, "outages") * 0.8, "{sent} {got}");
    assert!(number(&sent, "keyframes") > number(&got, "outages") * 0.8, "{sent} {got}");
    // The picture is back each time: within half a second where a person measures it, within seconds on a machine that is busy.
    let patience = if seconds == 120 { 500.0 } else { 4000.0 };
    assert!(number(&got, "longest_outage_ms") <= patience, "{got}");
    assert!(number(&got, "frames") > f64::from(seconds) * 20.0 * 0.5, "{got}");
    // Both told so every second.
    for (output, name) in [(&send, "rtp-send: "), (&receive, "rtp-receive: ")] {
        let lines = String::from_utf8_lossy(&output.stderr).lines().filter(|line| line.starts_with(name)).count();
        assert!(lines as f64 >= f64::from(seconds) * 0.5, "{lines} lines of {name}");
    }
}

#[test]
fn a_missing_input_is_named() {
    let folder = Folder::new();
    let sent = program(env!("CARGO_BIN_EXE_rtp-send")).arg(folder.name("absent.mp4")).output().unwrap();
    assert_eq!(sent.status.code(), Some(3), "{}", text(&sent));
    assert!(String::from_utf8_lossy(&sent.stderr).contains("absent.mp4"), "{}", text(&sent));
}
