//! The tables of the documents and the reports of machines, all drawn from the files in benches/results.

mod document;
mod machines;
mod part;
mod plots;
mod text;

use std::fs;
use std::path::{Path, PathBuf};

use crate::args::Tables;
use crate::parts::PARTS;
use crate::results::Results;

/// The root of the repository.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// The documents that have blocks.
const DOCUMENTS: [&str; 2] = ["README.md", "benches/README.md"];
/// The folder of the machines' files.
const RESULTS: &str = "benches/results";

/// Writes everything that is drawn, or sees that it is what would be written.
pub(crate) fn run(args: &Tables) -> Result<(), String> {
    let drawn = drawn(Path::new(ROOT))?;
    let mut stale = Vec::new();
    for (path, text) in &drawn {
        if fs::read_to_string(path).is_ok_and(|old| old == *text) {
            continue;
        }
        stale.push(path.strip_prefix(ROOT).unwrap_or(path).display().to_string());
        if args.write {
            fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    match stale.is_empty() {
        true => println!("{} files are what the results say", drawn.len()),
        false if args.check => {
            let stale = stale.join(", ");
            return Err(format!("not what the results say: {stale}; hardneg-compare tables --write draws them"));
        }
        false => println!("Written: {}", stale.join(", ")),
    }
    Ok(())
}

/// Everything that is drawn from the files, with its path.
fn drawn(root: &Path) -> Result<Vec<(PathBuf, String)>, String> {
    let files = files(&root.join(RESULTS))?;
    let (mut all, mut drawn) = (Vec::new(), Vec::new());
    for path in files {
        let results = Results::read(&path)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let written = report(&results, &format!("{name}-"));
        drawn.push((path.with_extension("md"), written.text));
        drawn.extend(written.plots.into_iter().map(|(file, svg)| (path.with_file_name(file), svg)));
        all.push(results);
    }
    for document in DOCUMENTS {
        let path = root.join(document);
        let text = fs::read_to_string(&path).map_err(|error| format!("{document}: {error}"))?;
        let redrawn = document::redrawn(&text, |name| block(&all, name));
        drawn.push((path, redrawn.map_err(|error| format!("{document}: {error}"))?));
    }
    Ok(drawn)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort_by(|one, other| one.file_stem().cmp(&other.file_stem()));
    Ok(files)
}

/// A block of a document.
fn block(all: &[Results], name: &str) -> Result<String, String> {
    match name {
        "highlights" => Ok(machines::highlights_table(all)),
        "bars" => Ok(all.first().map(machines::highlights_bars).unwrap_or_default()),
        "verdicts" => Ok(machines::verdicts(all)),
        "machines" => Ok(machines::list(all)),
        _ if PARTS.iter().any(|part| part.name == name) => Ok(machines::part_table(all, name)),
        _ => Err(format!("there is no table {name}")),
    }
}

/// A machine's report in Markdown, with the plots that it shows.
pub(crate) struct Report {
    pub text: String,
    /// The names of the files, with their text.
    pub plots: Vec<(String, String)>,
}

/// The report of one machine; the names of its plots begin with `prefix`.
pub(crate) fn report(results: &Results, prefix: &str) -> Report {
    let one = std::slice::from_ref(results);
    let mut text = format!("# hardneg on {}\n\n{}\n", results.title(), machines::list(one));
    text += &format!("Where hardneg loses:\n\n{}", machines::verdicts(one));
    for (name, why) in &results.missing {
        text += &format!("- not run: {name}: {why}\n");
    }
    let mut plots = Vec::new();
    for part in PARTS.iter().filter(|part| results.of(part.name).next().is_some()) {
        text += &format!("\n## {}\n\n{}\n\n{}", part.title, wrapped(part.notes), part::tables(results, part.name));
        if let Some(svg) = plots::rivals(part.title, &part::lines(results, part.name)) {
            let file = format!("{prefix}{}.svg", part.name);
            text += &format!("\n![{}: times of others as multiples of hardneg's]({file})\n", part.title);
            plots.push((file, svg));
        }
    }
    Report { text, plots }
}

/// The table of one part, for the terminal.
pub(crate) fn part_text(results: &Results, part: &str) -> String {
    part::tables(results, part)
}

/// A paragraph in lines of at most 120 characters.
fn wrapped(paragraph: &str) -> String {
    let (mut text, mut width) = (String::new(), 0);
    for word in paragraph.split_whitespace() {
        let separator = if width == 0 {
            ""
        } else if width + 1 + word.len() > 120 {
            "\n"
        } else {
            " "
        };
        width = if separator == " " { width + 1 + word.len() } else { word.len() };
        text += separator;
        text += word;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::sample;

    /// A folder like the repository, with one machine's file.
    fn repository(name: &str, results: &Results) -> PathBuf {
        let root = std::env::temp_dir().join(format!("hardneg-compare-{name}-{}", std::process::id()));
        fs::create_dir_all(root.join(RESULTS)).expect("a folder");
        fs::write(root.join(RESULTS).join("some.json"), results.to_json().expect("a file")).expect("a file");
        for document in DOCUMENTS {
            fs::write(root.join(document), "Text.\n\n<!-- table: batches -->\n<!-- end -->\n").expect("a file");
        }
        root
    }

    #[test]
    fn a_changed_number_changes_what_is_drawn() {
        let root = repository("changed", &sample());
        for (path, text) in drawn(&root).expect("files") {
            fs::write(path, text).expect("a file");
        }
        let is_stale = |(path, text): &(PathBuf, String)| fs::read_to_string(path).expect("a file") != *text;
        assert_eq!(drawn(&root).expect("files").iter().filter(|drawn| is_stale(drawn)).count(), 0);
        let readme = root.join("README.md");
        let text = fs::read_to_string(&readme).expect("a file");
        assert!(text.contains("gemm 3.30 x"), "{text}");
        fs::write(&readme, text.replace("3.30 x", "3.40 x")).expect("a file");
        assert_eq!(drawn(&root).expect("files").iter().filter(|drawn| is_stale(drawn)).count(), 1);
        fs::remove_dir_all(root).expect("the folder");
    }

    #[test]
    fn an_unknown_block_is_an_error() {
        assert!(block(&[sample()], "nothing").is_err());
        for name in ["highlights", "bars", "verdicts", "machines", "batches"] {
            assert!(block(&[sample()], name).is_ok_and(|text| !text.is_empty()), "{name}");
        }
    }

    #[test]
    fn a_report_shows_its_plots() {
        let report = report(&sample(), "some-");
        let [(file, svg)] = &report.plots[..] else { panic!("one part was measured") };
        assert!(report.text.contains(&format!("({file})")) && svg.starts_with("<svg "));
    }
}
