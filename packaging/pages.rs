//! Manual page and bash completion of a program. They lie in the repository, so that installing needs to run nothing, and a test of
//! every program compares them with what its command line makes. `NGC_WRITE_PAGES=1 cargo test --workspace manual_page` writes them anew.

use std::path::Path;

use clap::Command;

/// Compares both files of a program with its command line, or writes them.
///
/// # Panics
/// If they differ, or cannot be written.
pub fn check(mut command: Command) {
    command.build();
    let name = command.get_name().to_owned();
    let mut completion = Vec::new();
    clap_complete::generate(clap_complete::Shell::Bash, &mut command, &name, &mut completion);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging");
    for (path, wanted) in
        [(folder.join(format!("man/{name}.1")), manual(&command)), (folder.join("bash-completion").join(&name), completion)]
    {
        if std::env::var_os("NGC_WRITE_PAGES").is_some() {
            std::fs::write(&path, &wanted).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
        let found = std::fs::read(&path).unwrap_or_default();
        assert!(found == wanted, "{} is out of date: NGC_WRITE_PAGES=1 cargo test --workspace manual_page", path.display());
    }
}

/// One page, with a part for every subcommand.
fn manual(command: &Command) -> Vec<u8> {
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(command.clone()).render(&mut page);
    rendered.expect("memory takes everything");
    subcommands(command, "", &mut page);
    let mut text = String::from_utf8_lossy(&page).replace(".SH EXTRA", ".SH NOTES");
    // The generator thinks that each subcommand has a page of its own.
    let escaped = |name: &str| name.replace('-', "\\-");
    for subcommand in command.get_subcommands().map(Command::get_name) {
        let reference = format!("{}\\-{}(1)", escaped(command.get_name()), escaped(subcommand));
        text = text.replace(&format!("\n{reference}\n"), &format!("\n{}\n", escaped(subcommand)));
    }
    text.into_bytes()
}

/// Parts for the subcommands of a command, and for theirs. `above`: what comes before their names on the command line.
fn subcommands(command: &Command, above: &str, page: &mut Vec<u8>) {
    for subcommand in command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help") {
        let man = clap_mangen::Man::new(subcommand.clone());
        let mut part = Vec::new();
        man.render_synopsis_section(&mut part).expect("memory takes everything");
        man.render_description_section(&mut part).expect("memory takes everything");
        man.render_options_section(&mut part).expect("memory takes everything");
        let name = format!("{above}{}", subcommand.get_name());
        page.extend_from_slice(format!(".SH {}\n", name.to_uppercase()).as_bytes());
        page.extend_from_slice(String::from_utf8_lossy(&part).replace(".SH ", ".SS ").as_bytes());
        subcommands(subcommand, &format!("{name} "), page);
    }
}
