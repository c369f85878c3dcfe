//! A pipeline under random events for as long as wanted: `cargo run --release -p ngc-tests --bin soak -- SECONDS [SEED]`

fn main() -> std::process::ExitCode {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<u64>());
    let (Some(Ok(seconds)), seed) = (arguments.next(), arguments.next().and_then(Result::ok).unwrap_or(1)) else {
        eprintln!("soak: say for how many seconds");
        return std::process::ExitCode::FAILURE;
    };
    match ngc_tests::soak::run(seconds, seed) {
        Ok(outcome) => {
            println!("{seconds} s: {outcome:?}");
            std::process::ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("soak: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
