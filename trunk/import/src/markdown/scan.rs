//! What a note says about itself: its first heading, tags, links, and the files it shows.
//!
//! The Markdown parser tells code, links and HTML from prose; tags count only in prose.

use std::ops::Range;

use pulldown_cmark::{Event, HeadingLevel, LinkType, Options, Parser, Tag, TagEnd};

use crate::item::LossKind;
use crate::names::cut;

use super::list_cut;

/// How many tags, links or files of one note are taken; more is generated, not written.
const LIST_MAX: usize = 10_000;

/// Longest title taken from a heading.
const TITLE_BYTES_MAX: usize = 1_000;

/// Longest tag.
const TAG_BYTES_MAX: usize = 255;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The first heading of the first level.
    pub(super) title: Option<String>,
    /// Tags in order, without `#`, perhaps repeated.
    pub(super) tags: Vec<String>,
    /// Targets of wiki links, without their headings.
    pub(super) links: Vec<String>,
    /// Files and notes that the note shows or points to.
    pub(super) embeds: Vec<Embed>,
    /// Which lists were cut.
    pub(super) cut: Vec<LossKind>,
}

/// A reference that may mean a file.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Embed {
    /// What it refers to, without a heading or query.
    pub(super) target: String,
    /// How it is written.
    pub(super) kind: EmbedKind,
}

/// How a reference is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum EmbedKind {
    /// `![[target]]`
    Wiki,
    /// `![](target)`
    Image,
    /// `[text](target)`
    Link,
}

/// Reads `body`.
pub(super) fn scan(body: &str) -> Scan {
    let options = Options::ENABLE_WIKILINKS
        | Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS;
    let mut scan = Scan::default();
    let mut heading: Option<String> = None;
    let mut prose: Option<Range<usize>> = None;
    let (mut in_code, mut in_link) = (false, 0_usize);
    for (event, range) in Parser::new_ext(body, options).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(_)) => in_code = true,
            Event::End(TagEnd::CodeBlock) => in_code = false,
            Event::Start(Tag::Heading { level: HeadingLevel::H1, .. }) if scan.title.is_none() => {
                heading = Some(String::new());
            }
            Event::End(TagEnd::Heading(HeadingLevel::H1)) => {
                let text = heading.take().unwrap_or_default();
                let title = cut(text.trim(), TITLE_BYTES_MAX).to_owned();
                scan.title = scan.title.or(Some(title)).filter(|title| !title.is_empty());
            }
            Event::Start(Tag::Link { link_type, dest_url, .. }) => {
                in_link += 1;
                scan.refer(link_type, &dest_url, false);
            }
            Event::Start(Tag::Image { link_type, dest_url, .. }) => {
                in_link += 1;
                scan.refer(link_type, &dest_url, true);
            }
            Event::End(TagEnd::Link | TagEnd::Image) => in_link = in_link.saturating_sub(1),
            Event::Code(code) => push_heading(&mut heading, &code),
            Event::Text(text) => {
                push_heading(&mut heading, &text);
                if in_code || in_link > 0 {
                    continue;
                }
                match &mut prose {
                    Some(open) if open.end == range.start => open.end = range.end,
                    _ => scan.take_tags(body, prose.replace(range)),
                }
            }
            _ => {}
        }
    }
    scan.take_tags(body, prose);
    scan.limit();
    scan
}

fn push_heading(heading: &mut Option<String>, text: &str) {
    if let Some(heading) = heading.as_mut().filter(|heading| heading.len() < TITLE_BYTES_MAX) {
        heading.push_str(text);
    }
}

impl Scan {
    fn refer(&mut self, link_type: LinkType, target: &str, shown: bool) {
        let wiki = matches!(link_type, LinkType::WikiLink { .. });
        // In a table the bar of `[[note|name]]` is written `\|`.
        let target = if wiki { target.trim_end_matches('\\') } else { target };
        let end = target.find(if wiki { &['#'][..] } else { &['#', '?'][..] });
        let plain = target.get(..end.unwrap_or(target.len())).unwrap_or(target).trim();
        let mail = matches!(link_type, LinkType::Email | LinkType::Autolink);
        if plain.is_empty() || mail || (!wiki && is_elsewhere(plain)) {
            return;
        }
        let kind = match (wiki, shown) {
            (true, false) => {
                self.links.push(plain.to_owned());
                return;
            }
            (true, true) => EmbedKind::Wiki,
            (false, true) => EmbedKind::Image,
            (false, false) => EmbedKind::Link,
        };
        self.embeds.push(Embed { target: plain.to_owned(), kind });
    }

    fn take_tags(&mut self, body: &str, prose: Option<Range<usize>>) {
        let Some(prose) = prose else { return };
        let text = body.get(prose.clone()).unwrap_or_default();
        for (at, _) in text.match_indices('#') {
            let before = body.get(..prose.start + at).and_then(|text| text.chars().next_back());
            if before.is_some_and(|letter| !letter.is_whitespace()) {
                continue;
            }
            let rest = text.get(at + 1..).unwrap_or_default();
            let end = rest.find(|letter| !is_tag_letter(letter)).unwrap_or(rest.len());
            let tag = rest.get(..end).unwrap_or_default().trim_end_matches('/');
            let number = tag.chars().all(char::is_numeric);
            if !number && tag.len() <= TAG_BYTES_MAX && self.tags.len() <= LIST_MAX {
                self.tags.push(tag.to_owned());
            }
        }
    }

    fn limit(&mut self) {
        let lengths = [
            ("tags", self.tags.len()),
            ("links", self.links.len()),
            ("attachments", self.embeds.len()),
        ];
        let long = lengths.into_iter().filter(|(_, length)| *length > LIST_MAX);
        self.cut.extend(long.map(|(list, _)| list_cut(list, LIST_MAX)));
        self.tags.truncate(LIST_MAX);
        self.links.truncate(LIST_MAX);
        self.embeds.truncate(LIST_MAX);
    }
}

/// Whether a link leads out of the source: it has a scheme or starts at a host.
fn is_elsewhere(target: &str) -> bool {
    let scheme = target.split_once(':').is_some_and(|(scheme, _)| {
        scheme.len() > 1
            && scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    });
    scheme || target.starts_with("//")
}

/// Letters, digits, `_`, `-`, `/` and everything beyond ASCII that is no space or punctuation.
fn is_tag_letter(letter: char) -> bool {
    let joiner = matches!(letter, '\u{200c}' | '\u{200d}');
    let punctuation = matches!(
        letter,
        '\u{80}'..='\u{bf}' | '×' | '÷' | '\u{2000}'..='\u{206f}' | '\u{3000}'..='\u{303f}'
        | '\u{ff00}'..='\u{ff0f}' | '\u{ff1a}'..='\u{ff20}' | '\u{ff3b}'..='\u{ff40}'
        | '\u{ff5b}'..='\u{ff65}'
    );
    letter.is_alphanumeric()
        || joiner
        || matches!(letter, '_' | '-' | '/')
        || (!letter.is_ascii() && !letter.is_whitespace() && !punctuation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tags_count_in_prose_and_nowhere_else() {
        let body = "#a b#c (#d) \\#e `#f` #12 #g-1/h #日本，x\n\n    #i\n\n\
                    ~~~\n#j\n~~~\n[#k](#l) *x* #m_n_o";
        assert_eq!(scan(body).tags, ["a", "g-1/h", "日本", "m_n_o"]);
    }

    #[test]
    fn the_first_heading_of_the_first_level_is_the_title() {
        assert_eq!(scan("## Two\n\n# A `b` *c*\n\n# D").title.as_deref(), Some("A b c"));
        assert_eq!(scan("#tag\n\n## Two").title, None);
        assert_eq!(scan("# \n\n# Later").title.as_deref(), Some("Later"));
    }

    #[test]
    fn references_are_told_apart() {
        let body = "[[Note#Part|name]] ![[a.png|300]] ![x](b%20c.png) [pdf](d.pdf) \
                    <https://example.org> [w](https://example.org/x.png) \
                    ![](data:image/png;base64,) [h](#top)";
        let scan = scan(body);
        assert_eq!(scan.links, ["Note"]);
        let embeds: Vec<String> =
            scan.embeds.iter().map(|embed| format!("{:?} {}", embed.kind, embed.target)).collect();
        assert_eq!(embeds, ["Wiki a.png", "Image b%20c.png", "Link d.pdf"]);
    }

    #[test]
    fn ten_megabytes_on_one_line_are_read() {
        let line = "word #tag [[link]] ".repeat(10_000_000 / 19);
        let scan = scan(&line);
        assert_eq!((scan.tags.len(), scan.links.len()), (LIST_MAX, LIST_MAX));
        assert_eq!(scan.cut.len(), 2);
    }

    proptest! {
        #[test]
        fn any_text_is_scanned(text in "[#\\[\\]()!|`*_~<>\\-\\\\a1 \n\t中]{0,200}") {
            let _ = scan(&text);
        }

        #[test]
        fn any_unicode_is_scanned(text: String) {
            let _ = scan(&text);
        }
    }
}
