//! What is printed: the table of ratios, then the figures it was made from.

/// On which side of the goal it is good to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// This much or more.
    AtLeast(f64),
    /// This much or less.
    AtMost(f64),
}

/// One line of the table.
#[derive(Debug)]
struct Line {
    row: u8,
    what: &'static str,
    against: &'static str,
    measured: String,
    goal: String,
    met: bool,
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    lines: Vec<Line>,
    figures: Vec<(u8, String)>,
    failures: Vec<(u8, String)>,
}

impl Report {
    /// A measured number and its goal, both in `unit` (`×`, `ms`, …).
    pub(crate) fn line(
        &mut self,
        row: u8,
        (what, against): (&'static str, &'static str),
        measured: f64,
        goal: Goal,
        unit: &str,
    ) {
        let (met, goal) = match goal {
            Goal::AtLeast(least) => (measured >= least, format!("≥ {least} {unit}")),
            Goal::AtMost(most) => (measured <= most, format!("≤ {most} {unit}")),
        };
        let digits = if measured.abs() < 10.0 { 2 } else { 0 };
        let measured = format!("{measured:.digits$} {unit}");
        self.lines.push(Line { row, what, against, measured, goal, met });
    }

    /// A figure behind a line.
    pub(crate) fn figure(&mut self, row: u8, text: impl Into<String>) {
        self.figures.push((row, text.into()));
    }

    /// A row that could not be measured.
    pub(crate) fn failure(&mut self, row: u8, why: impl Into<String>) {
        self.failures.push((row, why.into()));
    }

    /// Whether every row could be measured.
    pub(crate) fn complete(&self) -> bool {
        self.failures.is_empty()
    }

    pub(crate) fn print(&self, verdicts: bool) {
        let heads = ["#", "what", "against", "measured", "goal", "verdict"];
        let mut cells: Vec<[String; 6]> = vec![heads.map(str::to_owned)];
        for line in &self.lines {
            let verdict = match (verdicts, line.met) {
                (false, _) => "–",
                (true, true) => "ok",
                (true, false) => "misses",
            };
            cells.push([
                line.row.to_string(),
                line.what.to_owned(),
                line.against.to_owned(),
                line.measured.clone(),
                line.goal.clone(),
                verdict.to_owned(),
            ]);
        }
        let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..heads.len()).map(width).collect();
        println!();
        for (at, row) in cells.iter().enumerate() {
            let cell = |(text, width): (&String, &usize)| format!(" {text:width$} ");
            let text: Vec<String> = row.iter().zip(&widths).map(cell).collect();
            println!("|{}|", text.join("|"));
            if at == 0 {
                let rule: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
                println!("|{}|", rule.join("|"));
            }
        }
        println!("\nFigures:");
        for (row, figure) in &self.figures {
            println!("  {row}  {figure}");
        }
        for (row, why) in &self.failures {
            println!("  {row}  NOT MEASURED: {why}");
        }
    }
}
