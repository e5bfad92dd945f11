//! The text of an expression and the way from an offset in it to a line and a column.
//!
//! Used by every stage of compilation to say where something is; it knows nothing of CEL.

use super::error::CompileError;

/// The text that is compiled.
#[derive(Debug)]
pub(super) struct Source<'s> {
    /// The text.
    pub(super) text: &'s str,
    /// Which member of a condition it is; see [`CompileError::path`].
    pub(super) path: Vec<u16>,
}

impl Source<'_> {
    /// An error at a byte offset.
    pub(super) fn error(&self, offset: usize, message: impl Into<String>) -> CompileError {
        let (line, column) = self.position(offset);
        CompileError { message: message.into(), line, column, path: self.path.clone() }
    }

    /// Line and column of a byte offset, both from 1; the column counts characters.
    fn position(&self, offset: usize) -> (u32, u32) {
        let mut end = offset.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &self.text[..end];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        // The text is at most a few KiB, or refused for its size at offset 0.
        (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
    }

    /// The byte offset of a line and a column as the parser counts them (both from 1, characters).
    pub(super) fn offset(&self, line: isize, column: isize) -> usize {
        let line = usize::try_from(line).unwrap_or(1).max(1);
        let column = usize::try_from(column).unwrap_or(1).max(1);
        let Some(row) = self.text.split('\n').nth(line - 1) else {
            return self.text.len();
        };
        let start = row.as_ptr() as usize - self.text.as_ptr() as usize;
        start + row.char_indices().nth(column - 1).map_or(row.len(), |(at, _)| at)
    }
}
