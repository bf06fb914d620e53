//! `report.html`: one page that needs nothing else, no script, and no trust in what mail says.
//!
//! [`Html::raw`] takes only text of this program; all else goes through [`Html::text`], which escapes it. The content policy
//! allows the page's own style by its digest and nothing besides.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::html::{Html, escape};
use super::model::{Bar, Cause, Class, Compare, Compared, Outcome, Report, Sum, Total};
use super::svg::{self, Part, bytes, grouped};
use crate::model::Digest;

const STYLE: &str = include_str!("page.css");
/// Rows shown of accounts, of folders, of other lists; the rest is in the files beside the page.
const ROWS: usize = 400;

/// The sections: id and title.
const SECTIONS: [(&str, &str); 10] = [
    ("totals", "Control totals"),
    ("compare", "Archive against target"),
    ("exceptions", "Exceptions"),
    ("accounts", "Accounts and folders"),
    ("spread", "Items by year and size"),
    ("fixity", "Fixity and duplicates"),
    ("scope", "Scope"),
    ("custody", "Chain of custody"),
    ("repeat", "Repeat this check"),
    ("header", "This report"),
];

/// The parts of a report's page.
impl Html {
    /// A name from mail: its direction must not touch what stands beside it.
    fn name(&mut self, name: &str, when_empty: &'static str) -> &mut Self {
        if name.is_empty() { self.raw("<i>").raw(when_empty).raw("</i>") } else { self.raw("<bdi>").text(name).raw("</bdi>") }
    }

    fn bar(&mut self, title: &str, parts: &[Part], of: u64) -> &mut Self {
        let mut escaped = String::new();
        escape(&mut escaped, title);
        self.0.push_str(&svg::bar(&escaped, parts, of));
        self
    }

    fn begin(&mut self, section: usize) -> &mut Self {
        let (id, title) = SECTIONS[section];
        self.raw("<section id=\"").raw(id).raw("\" aria-labelledby=\"h-").raw(id).raw("\"><h2 id=\"h-").raw(id).raw("\">");
        self.raw(title).raw("</h2>")
    }

    fn term(&mut self, name: &'static str, value: &str) -> &mut Self {
        self.raw("<dt>").raw(name).raw("</dt><dd>").name(value, "not known").raw("</dd>")
    }

    fn hex(&mut self, name: &'static str, value: Option<&Digest>) -> &mut Self {
        self.raw("<dt>").raw(name).raw("</dt><dd class=\"hex\">");
        self.text(&value.map_or_else(|| "not known".to_owned(), Digest::to_string)).raw("</dd>")
    }

    /// A table that scrolls by itself where the window is narrow; columns that begin with `#` hold numbers.
    fn table(&mut self, caption: &'static str, columns: &[&'static str]) -> &mut Self {
        self.raw("<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"").raw(caption);
        self.raw("\"><table><caption>").raw(caption).raw("</caption><thead><tr>");
        for column in columns {
            match column.strip_prefix('#') {
                Some(column) => self.raw("<th scope=\"col\" class=\"n\">").raw(column),
                None => self.raw("<th scope=\"col\">").raw(column),
            };
            self.raw("</th>");
        }
        self.raw("</tr></thead><tbody>")
    }

    fn end_table(&mut self) -> &mut Self {
        self.raw("</tbody></table></div>")
    }

    fn cut(&mut self, shown: usize, of: usize, file: &'static str) {
        if of > shown {
            self.raw("<p class=\"hint\">The first ").number(shown as u64).raw(" of ").number(of as u64);
            self.raw("; all are in <code>").raw(file).raw("</code>.</p>");
        }
    }
}

/// The page.
pub(super) fn html(report: &Report) -> String {
    let mut page = Html::default();
    head(&mut page, report);
    verdict(&mut page, report);
    control(&mut page, report);
    if let Some(compare) = &report.compare {
        compared(&mut page, compare);
    }
    exceptions(&mut page, &report.exceptions);
    accounts(&mut page, report);
    spread(&mut page, report);
    fixity(&mut page, report);
    scope(&mut page, report);
    custody(&mut page, report);
    repeat(&mut page, report);
    about(&mut page, report);
    page.raw("</main><footer><p>").text(&format!("Report {}", report.header.id));
    page.raw(". It is complete in itself: it loads nothing, runs nothing and sends nothing.</p></footer></body></html>\n");
    page.0
}

fn head(page: &mut Html, report: &Report) {
    let style = STANDARD.encode(Digest::of(STYLE.as_bytes()).as_bytes());
    page.raw("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    page.raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-");
    page.text(&style).raw("'; base-uri 'none'; form-action 'none'\">");
    page.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta name=\"referrer\" content=\"no-referrer\">");
    page.raw("<title>").text(&format!("{}: floe {} report", report.verdict.result.words(), report.header.job.name()));
    page.raw("</title><style>").raw(STYLE).raw("</style></head><body>");
    page.raw("<a class=\"skip\" href=\"#main\">Skip to the verdict</a><header><h1>");
    page.raw(match report.header.job {
        super::Job::Snapshot => "Snapshot report",
        super::Job::Verify => "Archive verification report",
        super::Job::Validate => "Migration validation report",
    });
    page.raw("</h1><p>");
    if let Some(archive) = &report.header.archive {
        page.name(&archive.path, "").raw(" · snapshot ").text(&archive.snapshot).raw("</p><p>");
    }
    page.text(&report.header.created.strftime("%-d %B %Y, %H:%M:%S UTC").to_string());
    page.raw("</p></header><nav aria-label=\"Sections\"><ul>");
    for (id, title) in SECTIONS.iter().filter(|(id, _)| *id != "compare" || report.compare.is_some()) {
        page.raw("<li><a href=\"#").raw(id).raw("\">").raw(title).raw("</a></li>");
    }
    page.raw("</ul></nav><main id=\"main\" tabindex=\"-1\">");
}

fn verdict(page: &mut Html, report: &Report) {
    let (class, mark) = match report.verdict.result {
        Outcome::Pass => ("pass", "<path d=\"M7 12.5l3.4 3.4L17 9\"/>"),
        Outcome::PassWithExceptions => ("warn", "<path d=\"M12 6.5v7M12 17v.2\"/>"),
        Outcome::Fail => ("fail", "<path d=\"M8 8l8 8M16 8l-8 8\"/>"),
    };
    page.raw("<section class=\"verdict ").raw(class).raw("\" aria-labelledby=\"h-verdict\"><svg viewBox=\"0 0 24 24\" ");
    page.raw("aria-hidden=\"true\" focusable=\"false\"><circle cx=\"12\" cy=\"12\" r=\"10.3\"/>").raw(mark);
    page.raw("</svg><div><h2 id=\"h-verdict\">").raw(report.verdict.result.words()).raw("</h2><p>Exit code ");
    page.number(u64::from(report.verdict.exit_code)).raw(". ");
    let all = &report.totals.server.all;
    page.number(all.captured).raw(" items of ").text(&bytes(all.bytes)).raw(" in ");
    // What belongs to none is counted under an empty name.
    let named = |totals: &[Total]| totals.iter().filter(|total| !total.name.is_empty()).count() as u64;
    page.number(named(&report.totals.folders)).raw(" folders of ").number(named(&report.totals.accounts));
    page.raw(" accounts.</p>");
    if !report.verdict.reasons.is_empty() {
        page.raw("<ul>");
        for reason in report.verdict.reasons.iter().take(12) {
            page.raw("<li>").text(reason).raw("</li>");
        }
        page.raw("</ul>");
        page.cut(12, report.verdict.reasons.len(), "report.json");
    }
    page.raw("</div></section>");
}

fn control(page: &mut Html, report: &Report) {
    let all = &report.totals.server.all;
    page.begin(0).raw("<ul class=\"strip\">");
    let tiles = [
        ("", "in the source", all.source, "="),
        ("t1", "captured", all.captured, "+"),
        ("t3", "skipped by rule", all.skipped_total(), "+"),
        ("t4", "failed", all.failed_total(), ""),
    ];
    for (class, name, n, sign) in tiles {
        page.raw("<li class=\"").raw(class).raw("\"><b>").number(n).raw("</b><span>").raw(name).raw("</span></li>");
        if !sign.is_empty() {
            page.raw("<li class=\"op\" aria-hidden=\"true\">").raw(sign).raw("</li>");
        }
    }
    page.raw("</ul><p>");
    if all.holds {
        page.raw("<span class=\"word good\">✓ The identity holds</span> on every level: source = captured + skipped + failed. ");
    } else {
        page.raw("<span class=\"word wrong\">✗ The identity does not hold</span>: source ≠ captured + skipped + failed. ");
    }
    page.raw("Octets and items: <span class=\"hex\">").text(&all.oxum).raw("</span></p>");
    page.table("By object type", &SUM_COLUMNS);
    for (kind, sum) in &report.totals.server.by_type {
        sum_row(page, kind, "", sum);
    }
    page.end_table().table("By domain", &SUM_COLUMNS);
    for total in report.totals.domains.iter().take(ROWS) {
        sum_row(page, &total.name, "no domain", &total.all);
    }
    page.end_table();
    page.cut(ROWS, report.totals.domains.len(), "totals.csv");
    page.raw("</section>");
}

const SUM_COLUMNS: [&str; 7] = ["Name", "#Source", "#Captured", "#Skipped", "#Failed", "#Bytes", "Holds"];

fn sum_row(page: &mut Html, name: &str, when_empty: &'static str, sum: &Sum) {
    page.raw("<tr><th scope=\"row\">").name(name, when_empty).raw("</th>");
    sum_cells(page, sum);
    page.raw("</tr>");
}

fn sum_cells(page: &mut Html, sum: &Sum) {
    for n in [sum.source, sum.captured, sum.skipped_total(), sum.failed_total(), sum.bytes] {
        page.raw("<td class=\"n\">").number(n).raw("</td>");
    }
    page.raw(if sum.holds {
        "<td><span class=\"word good\">✓ yes</span></td>"
    } else {
        "<td><span class=\"word wrong\">✗ no</span></td>"
    });
}

/// The parts of a bar of captures.
fn capture_parts(sum: &Sum) -> Vec<Part> {
    vec![("c1", "captured", sum.captured), ("c3", "skipped", sum.skipped_total()), ("c4", "failed", sum.failed_total())]
}

/// The parts of a bar of a comparison.
fn compare_parts(c: &Compared) -> Vec<Part> {
    vec![
        ("c1", "identical", c.identical),
        ("c2", "equivalent", c.equivalent),
        ("c3", "refused as forecast", c.refused),
        ("c8", "changed as forecast", c.altered),
        ("c5", "changed", c.changed),
        ("c4", "missing", c.missing),
        ("c6", "extra", c.extra),
        ("c7", "duplicate", c.duplicate),
    ]
}

fn parts_of(total: &Total) -> Vec<Part> {
    total.compare.as_ref().map_or_else(|| capture_parts(&total.all), compare_parts)
}

fn legend(page: &mut Html, parts: &[Part]) {
    page.raw("<ul class=\"legend\" aria-label=\"Colours\">");
    for (class, name, n) in parts {
        page.raw("<li><svg viewBox=\"0 0 10 10\" aria-hidden=\"true\" focusable=\"false\"><rect class=\"").raw(class);
        page.raw("\" width=\"10\" height=\"10\" rx=\"2\"/></svg>").raw(name).raw(" ").number(*n).raw("</li>");
    }
    page.raw("</ul>");
}

fn compared(page: &mut Html, compare: &Compare) {
    let parts = compare_parts(&compare.all);
    page.begin(1).raw("<p>").text(&compare.method).raw("</p>");
    page.bar("All items, archive against target", &parts, parts.iter().map(|p| p.2).sum());
    legend(page, &parts);
    for (title, counts, column) in
        [("Equivalent, by rule", &compare.rules, "Rule"), ("Changed, by what changed", &compare.changes, "What")]
    {
        if !counts.is_empty() {
            page.raw("<h3>").raw(title).raw("</h3>").table(title, &[column, "#Items"]);
            for (what, n) in counts {
                page.raw("<tr><th scope=\"row\">").name(what, "").raw("</th><td class=\"n\">").number(*n).raw("</td></tr>");
            }
            page.end_table();
        }
    }
    if !compare.forecast.is_empty() {
        page.raw("<h3>Forecast against outcome</h3>");
        page.table("Forecast of the plan against the outcome", &["Forecast", "#Expected", "#Happened", "Agrees"]);
        for line in compare.forecast.iter().take(ROWS) {
            page.raw("<tr><th scope=\"row\">").name(&line.what, "").raw("</th><td class=\"n\">").number(line.expected);
            page.raw("</td><td class=\"n\">").number(line.happened).raw(if line.agrees() {
                "</td><td><span class=\"word good\">✓ yes</span></td></tr>"
            } else {
                "</td><td><span class=\"word wrong\">✗ no</span></td></tr>"
            });
        }
        page.end_table();
        page.cut(ROWS, compare.forecast.len(), "report.json");
    }
    page.raw("</section>");
}

fn exceptions(page: &mut Html, causes: &[Cause]) {
    page.begin(2);
    if causes.is_empty() {
        page.raw("<p>None. Every item found was captured.</p></section>");
        return;
    }
    page.raw("<p class=\"hint\">Grouped by cause, worst first. Every single one is in <code>exceptions.csv</code>.</p>");
    page.table("Exceptions by cause", &["Cause", "Class", "#Items", "What to do"]);
    for cause in causes {
        page.raw("<tr><th scope=\"row\">").name(&cause.cause, "").raw("</th><td><span class=\"word ");
        page.raw(match cause.class.verdict() {
            Outcome::Fail => "wrong\">✗ ",
            Outcome::PassWithExceptions => "odd\">! ",
            Outcome::Pass => "\">– ",
        });
        page.raw(cause.class.word()).raw("</span></td><td class=\"n\">").number(cause.count);
        page.raw("</td><td class=\"act\">").text(&cause.action).raw("</td></tr>");
    }
    page.end_table().raw("<h3>Examples</h3>");
    for cause in causes {
        page.raw("<details").raw(if cause.class == Class::Skipped { "" } else { " open" }).raw("><summary>");
        page.name(&cause.cause, "").raw(": ").number(cause.examples.len() as u64).raw(" of ").number(cause.count);
        page.raw("</summary>").table("Examples of this cause", &["Account", "Folder", "Place", "Detail"]);
        for example in &cause.examples {
            page.raw("<tr>");
            for text in [&example.account, &example.folder, &example.place, &example.detail] {
                page.raw("<td>").name(text, "–").raw("</td>");
            }
            page.raw("</tr>");
        }
        page.end_table().raw("</details>");
    }
    page.raw("</section>");
}

fn accounts(page: &mut Html, report: &Report) {
    let totals = &report.totals;
    let columns: &[&'static str] = &["Folder", "Account", "#Source", "#Captured", "#Skipped", "#Failed", "#Bytes", "Holds"];
    page.begin(3);
    legend(page, &parts_of(&totals.server));
    let whole = |t: &Total| parts_of(t).iter().map(|p| p.2).sum::<u64>();
    bars(page, &totals.accounts, "no account", totals.accounts.iter().map(whole).max().unwrap_or(0));
    page.cut(ROWS, totals.accounts.len(), "totals.csv");
    page.raw("<details><summary>Accounts in figures</summary>").table("Accounts", &SUM_COLUMNS);
    for total in totals.accounts.iter().take(ROWS) {
        sum_row(page, &total.name, "no account", &total.all);
    }
    page.end_table().raw("</details><details").raw(if totals.folders.len() <= 24 { " open" } else { "" });
    page.raw("><summary>Folders: outcomes</summary>");
    bars(page, &totals.folders, "no folder", totals.folders.iter().map(whole).max().unwrap_or(0));
    page.raw("</details><details><summary>Folders in figures</summary>").table("Folders", columns);
    for total in totals.folders.iter().take(ROWS) {
        page.raw("<tr><th scope=\"row\">").name(&total.name, "no folder").raw("</th><td>");
        page.name(total.account.as_deref().unwrap_or_default(), "no account").raw("</td>");
        sum_cells(page, &total.all);
        page.raw("</tr>");
    }
    page.end_table();
    page.cut(ROWS, totals.folders.len(), "totals.csv");
    page.raw("</details></section>");
}

fn bars(page: &mut Html, totals: &[Total], when_empty: &'static str, of: u64) {
    page.raw("<ul class=\"bars\">");
    for total in totals.iter().take(ROWS) {
        let parts = parts_of(total);
        page.raw("<li><span>").name(&total.name, when_empty);
        if let Some(account) = &total.account {
            page.raw(" · ").name(account, "no account");
        }
        page.raw("</span>").bar(if total.name.is_empty() { when_empty } else { &total.name }, &parts, of);
        page.raw("<span class=\"n\">").number(parts.first().map_or(0, |p| p.2));
        for (_, name, n) in parts.iter().skip(1).filter(|p| p.2 > 0) {
            page.raw(" · ").number(*n).raw(" ").raw(name);
        }
        page.raw("</span></li>");
    }
    page.raw("</ul>");
}

fn spread(page: &mut Html, report: &Report) {
    page.begin(4).raw("<div class=\"two\">");
    for (title, bars) in [("By year of the internal date", &report.spread.years), ("By size", &report.spread.sizes)] {
        page.raw("<div><h3>").raw(title).raw("</h3><ul class=\"bars narrow\">");
        let most = bars.iter().map(|b| b.items).max().unwrap_or(0);
        for Bar { label, items, bytes: size } in bars {
            page.raw("<li><span>").text(label).raw("</span>").bar(label, &[("c1", "items", *items)], most);
            page.raw("<span class=\"n\">").number(*items).raw(" · ").text(&bytes(*size)).raw("</span></li>");
        }
        page.raw("</ul></div>");
    }
    page.raw("</div></section>");
}

fn fixity(page: &mut Html, report: &Report) {
    page.begin(5).raw("<div class=\"two\"><div><h3>Fixity</h3>");
    match &report.fixity {
        None => {
            page.raw("<p>This job made no fixity check; <code>floe verify --full</code> does.</p>");
        }
        Some(f) => {
            let speed = format!("{:.0} MB/s, {:.1} s", f.mb_per_second(), f.elapsed_ms as f64 / 1000.0);
            page.raw("<dl>").term("Level", &f.level);
            let counts = [
                ("Files hashed", f.files),
                ("Objects rebuilt", f.objects),
                ("Placements followed", f.placements),
                ("Mismatches", f.mismatches),
                ("Missing", f.missing),
                ("Repaired", f.repaired),
            ];
            for (name, n) in counts {
                page.term(name, &grouped(n));
            }
            let sample = f.sample.map_or_else(
                || "none: everything at this level was read".to_owned(),
                |s| format!("{} items, seed {}", grouped(s.items), s.seed),
            );
            page.term("Bytes read", &grouped(f.bytes)).term("Speed", &speed).term("Sample", &sample).raw("</dl>");
        }
    }
    let d = &report.duplicates;
    page.raw("</div><div><h3>Duplicates</h3><p class=\"hint\">Never losses: each placement is kept and counted.</p><dl>");
    let groups = |r: &super::Repeats| format!("{} in {} groups", grouped(r.copies), grouped(r.groups));
    page.term("Same bytes", &format!("{}; each group is stored once", groups(&d.by_bytes)));
    page.term("Same Message-ID", &format!("{}; none merged", groups(&d.by_message_id)));
    page.term("Several labels", &format!("{} items; each is kept once with all its labels", grouped(d.by_label)));
    page.raw("</dl><p class=\"hint\">Which items are alike is in <code>duplicates.csv</code>.</p></div></div></section>");
}

fn scope(page: &mut Html, report: &Report) {
    let scope = &report.scope;
    page.begin(6).table("Sources", &["Source", "Type", "Access"]);
    for source in scope.sources.iter().take(ROWS) {
        page.raw("<tr><th scope=\"row\">").name(&source.path, "").raw("</th><td>").name(&source.kind, "files").raw("</td><td>");
        page.raw(if source.read_only { "read only" } else { "read and write" }).raw("</td></tr>");
    }
    page.end_table();
    page.cut(ROWS, scope.sources.len(), "report.json");
    let time = |at: Option<jiff::Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    page.raw("<dl>");
    if let Some(target) = &scope.target {
        page.term("Target", target);
    }
    page.term("Capture began", &time(scope.captured_from)).term("Capture ended", &time(scope.captured_to));
    let filters = if scope.filters.is_empty() { "none".to_owned() } else { scope.filters.join("; ") };
    page.term("Filters", &filters).raw("</dl><h3>Out of scope</h3><ul>");
    for text in &scope.out_of_scope {
        page.raw("<li>").text(text).raw("</li>");
    }
    page.raw("</ul></section>");
}

/// A moment, as people read it.
fn shown(at: jiff::Timestamp) -> String {
    at.strftime("%F %T UTC").to_string()
}

fn custody(page: &mut Html, report: &Report) {
    page.begin(7);
    if let Some(archive) = &report.header.archive {
        page.raw("<p>Fingerprint of the newest root, to read out and compare:<br><span class=\"hex big\">");
        page.text(&archive.checkpoint.fingerprint).raw("</span></p>");
    }
    page.table("Events", &["When", "Event", "Agent", "Root", "Medium", "Outcome"]);
    for event in report.custody.iter().take(ROWS) {
        page.raw("<tr><th scope=\"row\" class=\"t\">").text(&shown(event.at)).raw("</th><td class=\"w\">");
        page.text(&event.event).raw("</td><td>").name(&event.agent, "–").raw("</td><td class=\"hex\">");
        page.text(&event.root.map_or_else(|| "–".to_owned(), |r| r.to_string())).raw("</td><td>");
        page.name(event.medium.as_deref().unwrap_or_default(), "–").raw("</td><td>").name(&event.outcome, "–").raw("</td></tr>");
    }
    page.end_table();
    page.cut(ROWS, report.custody.len(), "report.json");
    page.raw("<h3>Signatures and timestamps</h3>");
    if report.seals.is_empty() {
        page.raw("<p>None is present on this archive.</p>");
    } else {
        page.table("Signatures and timestamps", &["Kind", "By", "Key", "When", "Holds"]);
        for seal in report.seals.iter().take(ROWS) {
            page.raw("<tr><th scope=\"row\" class=\"w\">").text(&seal.kind).raw("</th><td class=\"w\">").name(&seal.by, "–");
            page.raw("</td><td class=\"hex\">")
                .text(if seal.key.is_empty() { "–" } else { &seal.key })
                .raw("</td><td class=\"t\">");
            page.text(&seal.at.map_or_else(|| "–".to_owned(), shown)).raw("</td><td><span class=\"word ");
            page.raw(if seal.good { "good\">✓ yes" } else { "wrong\">✗ no" })
                .raw("</span>: ")
                .text(&seal.result)
                .raw("</td></tr>");
        }
        page.end_table();
    }
    page.raw("<div class=\"sign\"><div>Handed over by: name, date, signature</div>");
    page.raw("<div>Received by: name, date, signature</div></div></section>");
}

fn repeat(page: &mut Html, report: &Report) {
    page.begin(8).raw("<p class=\"hint\">With stock tools, by anyone, without floe. ARCHIVE is the archive's folder.</p>");
    page.raw("<ol class=\"steps\">");
    for step in &report.repeat {
        page.raw("<li>").text(&step.shows).raw("<code>").text(&step.command).raw("</code>Expect: <span class=\"hex\">");
        page.text(&step.expect).raw("</span></li>");
    }
    page.raw("</ol></section>");
}

fn about(page: &mut Html, report: &Report) {
    let header = &report.header;
    page.begin(9).raw("<dl>").term("Report", &header.id).term("Made", &header.created.to_string()).term("Clock", &header.clock);
    page.term("Tool", &format!("{} {}", header.tool.name, header.tool.version));
    page.term("Commit", header.tool.commit.unwrap_or_default()).hex("Binary SHA-256", header.tool.sha256.as_ref());
    if let Some(archive) = &header.archive {
        let point = &archive.checkpoint;
        page.hex("Archive id", Some(&archive.id)).term("Checkpoint", &format!("{}, {} roots", point.origin, point.size));
        page.hex("Newest root", Some(&point.root));
        page.term("Payload-Oxum", archive.payload_oxum.as_deref().unwrap_or_default());
    }
    let host = &header.host;
    page.term("Host", &format!("{} {}, {}", host.os, host.arch, host.fingerprint.as_deref().unwrap_or("no fingerprint")));
    page.term("Operator", header.operator.as_deref().unwrap_or_default());
    let options: Vec<String> = header.options.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    page.term("Options", &options.join("; ")).raw("</dl><h3>Files of this report</h3>");
    page.table("Files", &["File", "What", "#Rows", "SHA-256"]);
    for file in &report.files {
        page.raw("<tr><th scope=\"row\">").text(&file.name).raw("</th><td>").text(&file.what).raw("</td><td class=\"n\">");
        page.number(file.rows).raw("</td><td class=\"hex\">").text(&file.sha256.to_string()).raw("</td></tr>");
    }
    page.end_table().raw("</section>");
}
