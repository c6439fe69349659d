//! Blocks of a document that are drawn: what stands between `<!-- table: NAME -->` and `<!-- end -->`.

const START: &str = "<!-- table: ";
const CLOSE: &str = " -->";
const END: &str = "<!-- end -->";

/// The document with every block drawn anew.
pub(super) fn redrawn(text: &str, draw: impl Fn(&str) -> Result<String, String>) -> Result<String, String> {
    let (mut output, mut rest) = (String::new(), text);
    while let Some(start) = rest.find(START) {
        let name_start = start + START.len();
        let name = rest[name_start..].split(CLOSE).next().unwrap_or_default();
        let block_start = name_start + name.len() + CLOSE.len();
        let block = rest.get(block_start..).ok_or_else(|| format!("a marker without{CLOSE}"))?;
        let end = block.find(END).ok_or_else(|| format!("the block {name} has no {END}"))?;
        if block[..end].contains(START) {
            return Err(format!("the block {name} has no {END}"));
        }
        output += &format!("{}\n{}\n", &rest[..block_start], draw(name)?.trim_end());
        rest = &block[end..];
    }
    Ok(output + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(name: &str) -> Result<String, String> {
        if name == "unknown" { Err(name.to_owned()) } else { Ok(format!("drawn {name}\n")) }
    }

    #[test]
    fn blocks_are_replaced_and_the_rest_is_kept() {
        let text = "one\n<!-- table: a -->\nold\n<!-- end -->\ntwo\n<!-- table: b c -->\n<!-- end -->\nthree\n";
        let drawn = redrawn(text, draw).expect("two blocks");
        let expected =
            "one\n<!-- table: a -->\ndrawn a\n<!-- end -->\ntwo\n<!-- table: b c -->\ndrawn b c\n<!-- end -->\nthree\n";
        assert_eq!(drawn, expected);
        assert_eq!(redrawn(&drawn, draw).as_deref(), Ok(expected));
    }

    #[test]
    fn a_block_without_an_end_or_with_an_unknown_name_is_an_error() {
        assert!(redrawn("<!-- table: a -->\nold", draw).is_err());
        assert!(redrawn("<!-- table: a -->\n<!-- table: b -->\n<!-- end -->", draw).is_err());
        assert!(redrawn("<!-- table: unknown -->\n<!-- end -->", draw).is_err());
    }
}
