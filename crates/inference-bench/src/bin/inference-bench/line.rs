//! A case as people read it.

use inference_bench::CaseRecord;

/// A case in one line.
pub(crate) fn of(record: &CaseRecord) -> String {
    let number = |value: f64| {
        if value == 0.0 {
            return "0".to_owned();
        }
        let decimals = (3 - value.abs().max(1e-3).log10().floor() as i32).clamp(0, 6) as usize;
        format!("{value:.decimals$}")
    };
    let value = record.value.map_or_else(|| "-".to_owned(), number);
    let mut line = format!("{:<28} {value:>12} {:<9} n {:<8}", record.case, record.unit, record.n);
    if record.verdict.is_gated() {
        line += &format!(" {}", record.verdict);
    }
    if let Some(gate) = &record.gate {
        line += &format!(" ({gate})");
    }
    if let Some(reason) = &record.reason {
        // Words from the server must not reach the terminal as commands.
        line += &format!("  {}", reason.replace(char::is_control, " "));
    }
    line.trim_end().to_owned()
}
