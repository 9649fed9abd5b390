//! A page of metrics as it grows.

use dispatcher_tally::Distribution;
use prometheus::{
    TextEncoder,
    proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType},
};

/// A metric: what it is called, what kind of thing it is, and what it means.
pub(crate) struct Name {
    pub(crate) name: &'static str,
    pub(crate) kind: MetricType,
    pub(crate) help: &'static str,
}

/// Microseconds in a second.
pub(crate) const MICROS: f64 = 1e6;

/// What is scraped.
#[derive(Default)]
pub(crate) struct Page {
    families: Vec<MetricFamily>,
}

impl Page {
    /// Adds a number. Those of one metric come one after the other.
    pub(crate) fn add(&mut self, name: &'static Name, labels: &[(&str, &str)], value: f64) {
        let mut metric = Metric::from_label(pairs(labels));
        match name.kind {
            MetricType::COUNTER => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            _ => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
        }
        self.put(name, metric);
    }

    /// Adds a count.
    #[expect(clippy::cast_precision_loss, reason = "every number on a page is a float, which counts to 2^53")]
    pub(crate) fn count(&mut self, name: &'static Name, labels: &[(&str, &str)], count: u64) {
        self.add(name, labels, count as f64);
    }

    /// Adds 1 for the one of `states` that it is in, and 0 for the others.
    pub(crate) fn state(&mut self, name: &'static Name, labels: &[(&str, &str)], states: &[&str], is: &str) {
        for state in states {
            let labels: Vec<_> = labels.iter().copied().chain([("state", *state)]).collect();
            self.count(name, &labels, u64::from(*state == is));
        }
    }

    /// Adds a distribution; `unit` is how many of its units make one of the metric's.
    #[expect(clippy::cast_precision_loss, reason = "every number on a page is a float, which counts to 2^53")]
    pub(crate) fn distribution(&mut self, name: &'static Name, labels: &[(&str, &str)], of: &Distribution, unit: f64) {
        let mut below = 0;
        let buckets = of.bounds.iter().zip(&of.counts).map(|(bound, count)| {
            below += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound as f64 / unit);
            bucket.set_cumulative_count(below);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(of.count());
        histogram.set_sample_sum(of.sum as f64 / unit);
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_histogram(histogram);
        self.put(name, metric);
    }

    /// Adds what another made.
    pub(crate) fn append(&mut self, families: Vec<MetricFamily>) {
        self.families.extend(families);
    }

    /// The page as text.
    ///
    /// # Errors
    /// When what was appended is no metric.
    pub(crate) fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.families)
    }

    fn put(&mut self, name: &'static Name, metric: Metric) {
        let idx = self.families.iter().position(|family| family.name() == name.name).unwrap_or_else(|| {
            let mut family = MetricFamily::default();
            family.set_name(name.name.to_owned());
            family.set_help(name.help.to_owned());
            family.set_field_type(name.kind);
            self.families.push(family);
            self.families.len() - 1
        });
        self.families[idx].mut_metric().push(metric);
    }
}

fn pairs(labels: &[(&str, &str)]) -> Vec<LabelPair> {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    labels.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use dispatcher_tally::Histogram;

    use super::*;

    static SPAN: Name = Name { name: "span_seconds", kind: MetricType::HISTOGRAM, help: "Spans." };
    static MODE: Name = Name { name: "mode", kind: MetricType::GAUGE, help: "A \"mode\"." };

    #[test]
    fn bounds_are_in_base_units_and_counts_add_up() {
        let histogram = Histogram::new(&[1_000, 500_000]);
        [500, 1_000, 20_000, 2_000_000].into_iter().for_each(|micros| histogram.record(micros));
        let mut page = Page::default();
        page.distribution(&SPAN, &[("of", "a\"b")], &histogram.read(), MICROS);
        page.state(&MODE, &[], &["on", "off"], "off");
        let expected = "# HELP span_seconds Spans.\n# TYPE span_seconds histogram\n\
                        span_seconds_bucket{of=\"a\\\"b\",le=\"0.001\"} 2\n\
                        span_seconds_bucket{of=\"a\\\"b\",le=\"0.5\"} 3\n\
                        span_seconds_bucket{of=\"a\\\"b\",le=\"+Inf\"} 4\n\
                        span_seconds_sum{of=\"a\\\"b\"} 2.0215\nspan_seconds_count{of=\"a\\\"b\"} 4\n\
                        # HELP mode A \"mode\".\n# TYPE mode gauge\nmode{state=\"on\"} 0\nmode{state=\"off\"} 1\n";
        assert_eq!(page.text().unwrap(), expected);
    }
}
