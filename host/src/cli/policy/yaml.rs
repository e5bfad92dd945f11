//! A policy file as it is written: a tree with places, which the reader of values does not keep.

use granit_parser::{Event, Parser, Span};

/// A value with its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Line and column of its beginning, from 1.
    pub(super) at: (usize, usize),
    /// What it is.
    pub(super) kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// A text, number, flag or nothing.
    Scalar(String),
    /// A list.
    List(Vec<Entry>),
    /// Members in the order of the text.
    Map(Vec<Entry>),
    /// The same as a value before it.
    Alias,
}

/// A member of a mapping, or an item of a list.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Its name, if it is a member.
    pub(super) key: Option<Node>,
    /// Its value.
    pub(super) value: Node,
}

/// A whole file.
#[derive(Debug)]
pub(super) struct Document {
    /// Its value.
    pub(super) root: Node,
    /// What it has that is lost where it is written again, in words.
    pub(super) odd: Option<&'static str>,
}

/// A collection that is being read.
struct Open {
    at: (usize, usize),
    map: bool,
    entries: Vec<Entry>,
    key: Option<Node>,
}

#[derive(Default)]
struct Reading {
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
    odd: Option<&'static str>,
}

/// Reads a file's text that the reader of values has taken already, so that its nesting is bounded.
pub(super) fn read(text: &str) -> Result<Document, String> {
    let mut reading = Reading::default();
    for next in Parser::new_from_str(text) {
        let (event, span) = next.map_err(|why| why.to_string())?;
        reading.take(event, span);
    }
    let nothing = Node { at: (1, 1), kind: Kind::Scalar(String::new()) };
    Ok(Document { root: reading.root.unwrap_or(nothing), odd: reading.odd })
}

impl Reading {
    fn take(&mut self, event: Event<'_>, span: Span) {
        let at = (span.start.line(), span.start.col() + 1);
        match event {
            Event::Scalar(text, _, anchor, tag) => {
                self.strange(anchor != 0, tag.is_some());
                self.put(Node { at, kind: Kind::Scalar(text.into_owned()) });
            }
            Event::SequenceStart(_, anchor, tag) => self.begin(at, false, (anchor, tag.is_some())),
            Event::MappingStart(_, anchor, tag) => self.begin(at, true, (anchor, tag.is_some())),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return };
                let kind = if open.map { Kind::Map(open.entries) } else { Kind::List(open.entries) };
                self.put(Node { at: open.at, kind });
            }
            Event::Alias(_) => {
                self.strange(true, false);
                self.put(Node { at, kind: Kind::Alias });
            }
            Event::Comment(..) => self.odd = Some("comments"),
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.odd = Some("several documents");
                }
            }
            // Those with names are made only where the parser is told to.
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentEnd
            | Event::Anchor(..)
            | Event::UnresolvedAlias(_)
            | _ => {}
        }
    }

    fn strange(&mut self, anchor: bool, tag: bool) {
        if anchor {
            self.odd = Some("anchors or aliases");
        } else if tag {
            self.odd = Some("tags");
        }
    }

    fn begin(&mut self, at: (usize, usize), map: bool, (anchor, tag): (usize, bool)) {
        self.strange(anchor != 0, tag);
        self.open.push(Open { at, map, entries: Vec::new(), key: None });
    }

    fn put(&mut self, node: Node) {
        let Some(open) = self.open.last_mut() else {
            self.root.get_or_insert(node);
            return;
        };
        if open.map && open.key.is_none() {
            open.key = Some(node);
            return;
        }
        let key = open.key.take();
        open.entries.push(Entry { key, value: node });
    }
}

impl Node {
    /// Its entries, if it has any.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.kind {
            Kind::List(entries) | Kind::Map(entries) => entries,
            Kind::Scalar(_) | Kind::Alias => &[],
        }
    }

    /// The member of that name.
    pub(super) fn member(&self, name: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.name() == Some(name))
    }
}

impl Entry {
    /// Where it begins.
    pub(super) fn at(&self) -> (usize, usize) {
        self.key.as_ref().map_or(self.value.at, |key| key.at)
    }

    /// Its name, if it is a member whose name is a text.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.key.as_ref()?.kind {
            Kind::Scalar(text) => Some(text),
            Kind::List(_) | Kind::Map(_) | Kind::Alias => None,
        }
    }
}
