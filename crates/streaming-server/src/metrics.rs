//! What is counted, and how it is told.

mod histogram;

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use self::histogram::Histogram;
use crate::tenants::{Tenant, Tenants};

/// A count that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A count that goes up and down.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicU64);

impl Gauge {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn subtract(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Where a request stood when its client went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Queued,
    /// Running, before its first token.
    Prefill,
    Decode,
}

/// Figures of a server. Recording is an atomic addition or two.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) connections: Gauge,
    pub(crate) prompt_tokens: Counter,
    pub(crate) generation_tokens: Counter,
    pub(crate) finished_stop: Counter,
    pub(crate) finished_length: Counter,
    pub(crate) finished_abort: Counter,
    pub(crate) finished_error: Counter,
    pub(crate) gone_queued: Counter,
    pub(crate) gone_prefill: Counter,
    pub(crate) gone_decode: Counter,
    pub(crate) stalled: Counter,
    pub(crate) refused_overloaded: Counter,
    pub(crate) refused_timeout: Counter,
    pub(crate) refused_draining: Counter,
    pub(crate) refused_invalid: Counter,
    pub(crate) refused_key: Counter,
    pub(crate) refused_requests: Counter,
    pub(crate) refused_tokens: Counter,
    pub(crate) refused_connection: Counter,
    pub(crate) runner_restarts: Counter,
    pub(crate) first_token: Histogram,
    pub(crate) inter_token: Histogram,
    pub(crate) per_token: Histogram,
    pub(crate) end_to_end: Histogram,
    pub(crate) queued: Histogram,
    pub(crate) prefill: Histogram,
    pub(crate) decode: Histogram,
    pub(crate) inference: Histogram,
    pub(crate) request_prompt_tokens: Histogram,
    pub(crate) request_generation_tokens: Histogram,
    pub(crate) request_tokens_max: Histogram,
    pub(crate) emit_to_write: Histogram,
    pub(crate) tokens_per_write: Histogram,
    pub(crate) backlog_bytes: Histogram,
    pub(crate) cancel_latency: Histogram,
    pub(crate) lateness: Histogram,
    pub(crate) loop_lag: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let (fine, seconds, counts) =
            (Histogram::microseconds, Histogram::seconds, Histogram::powers_of_two);
        Self {
            connections: Gauge::default(),
            prompt_tokens: Counter::default(),
            generation_tokens: Counter::default(),
            finished_stop: Counter::default(),
            finished_length: Counter::default(),
            finished_abort: Counter::default(),
            finished_error: Counter::default(),
            gone_queued: Counter::default(),
            gone_prefill: Counter::default(),
            gone_decode: Counter::default(),
            stalled: Counter::default(),
            refused_overloaded: Counter::default(),
            refused_timeout: Counter::default(),
            refused_draining: Counter::default(),
            refused_invalid: Counter::default(),
            refused_key: Counter::default(),
            refused_requests: Counter::default(),
            refused_tokens: Counter::default(),
            refused_connection: Counter::default(),
            runner_restarts: Counter::default(),
            first_token: seconds(),
            inter_token: seconds(),
            per_token: seconds(),
            end_to_end: seconds(),
            queued: seconds(),
            prefill: seconds(),
            decode: seconds(),
            inference: seconds(),
            request_prompt_tokens: counts(),
            request_generation_tokens: counts(),
            request_tokens_max: counts(),
            emit_to_write: fine(),
            tokens_per_write: counts(),
            backlog_bytes: counts(),
            cancel_latency: fine(),
            lateness: fine(),
            loop_lag: fine(),
        }
    }
}

impl Metrics {
    /// Counts a client that has gone before its request ended.
    pub(crate) fn count_gone(&self, phase: Phase) {
        match phase {
            Phase::Queued => self.gone_queued.add(1),
            Phase::Prefill => self.gone_prefill.add(1),
            Phase::Decode => self.gone_decode.add(1),
        }
        self.finished_abort.add(1);
    }

    /// Everything in the text format of Prometheus, version 0.0.4.
    pub(crate) fn to_text(&self, model: &str, counts: (u64, u64), tenants: &Tenants) -> Text {
        let mut text = Text { out: String::with_capacity(32 << 10), model: label_value(model) };
        let (running, waiting) = counts;
        text.plain("vllm:num_requests_running", "gauge", "Requests that run", running);
        text.plain("vllm:num_requests_waiting", "gauge", "Requests that wait", waiting);
        self.write_vllm(&mut text);
        self.write_own(&mut text);
        if tenants.have_keys() {
            write_keys(&mut text, tenants.all());
        }
        text
    }

    /// What vLLM calls so, so that its dashboards work.
    fn write_vllm(&self, text: &mut Text) {
        text.plain("vllm:kv_cache_usage_perc", "gauge", "There is no such cache", 0);
        for name in ["vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total"] {
            text.plain(name, "counter", "There is no such cache", 0);
        }
        text.head("vllm:cache_config_info", "gauge", "There is no such cache");
        text.value("vllm:cache_config_info", "block_size=\"0\",num_gpu_blocks=\"0\"", 1);
        text.head("vllm:lora_requests_info", "gauge", "There are no such adapters");
        let adapters = "max_lora=\"0\",running_lora_adapters=\"\",waiting_lora_adapters=\"\"";
        text.value("vllm:lora_requests_info", adapters, 1);
        let prompt = self.prompt_tokens.get();
        text.plain("vllm:prompt_tokens_total", "counter", "Prompt tokens", prompt);
        let generated = self.generation_tokens.get();
        text.plain("vllm:generation_tokens_total", "counter", "Tokens sent", generated);
        text.head("vllm:request_success_total", "counter", "Requests that ended, by why");
        for (reason, counter) in [
            ("stop", &self.finished_stop),
            ("length", &self.finished_length),
            ("abort", &self.finished_abort),
            ("error", &self.finished_error),
        ] {
            let label = format!("finished_reason=\"{reason}\"");
            text.value("vllm:request_success_total", &label, counter.get());
        }
        for (name, help, histogram) in [
            ("time_to_first_token_seconds", "From arrival to the first token", &self.first_token),
            ("inter_token_latency_seconds", "Between tokens as produced", &self.inter_token),
            ("time_per_output_token_seconds", "Between tokens as produced", &self.inter_token),
            ("request_time_per_output_token_seconds", "Mean of a request", &self.per_token),
            ("e2e_request_latency_seconds", "From arrival to the end", &self.end_to_end),
            ("request_queue_time_seconds", "Waiting to run", &self.queued),
            ("request_prefill_time_seconds", "From the start to the first token", &self.prefill),
            ("request_decode_time_seconds", "From the first token to the last", &self.decode),
            ("request_inference_time_seconds", "From the start to the last", &self.inference),
            ("request_prompt_tokens", "Prompt tokens of a request", &self.request_prompt_tokens),
            ("request_generation_tokens", "Tokens of a request", &self.request_generation_tokens),
            ("request_params_max_tokens", "max_tokens of a request", &self.request_tokens_max),
        ] {
            text.histogram(&format!("vllm:{name}"), help, histogram);
        }
    }

    /// What nobody else has.
    fn write_own(&self, text: &mut Text) {
        for (name, help, histogram) in [
            (
                "stream_emit_to_write_seconds",
                "Produced to taken by the kernel",
                &self.emit_to_write,
            ),
            ("stream_tokens_per_write", "Tokens that left together", &self.tokens_per_write),
            ("stream_backlog_bytes", "Held for a client when it was written", &self.backlog_bytes),
            ("cancel_latency_seconds", "Client gone to runner told", &self.cancel_latency),
            ("runner_lateness_seconds", "Due to produced", &self.lateness),
            ("event_loop_lag_seconds", "How late a timer of the I/O thread was", &self.loop_lag),
        ] {
            text.histogram(name, help, histogram);
        }
        let stalled = self.stalled.get();
        text.plain(
            "stream_stalled_total",
            "counter",
            "Clients cut because they read nothing",
            stalled,
        );
        let restarts = self.runner_restarts.get();
        text.plain("runner_restarts_total", "counter", "Runners that failed", restarts);
        let open = self.connections.get();
        text.plain("connections_open", "gauge", "Connections", open);
        text.head("client_disconnects_total", "counter", "Clients that went, by when");
        for (phase, counter) in [
            ("queued", &self.gone_queued),
            ("prefill", &self.gone_prefill),
            ("decode", &self.gone_decode),
        ] {
            text.value("client_disconnects_total", &format!("phase=\"{phase}\""), counter.get());
        }
        text.head("admission_rejected_total", "counter", "Requests refused, by why");
        for (reason, counter) in [
            ("overloaded", &self.refused_overloaded),
            ("queue_timeout", &self.refused_timeout),
            ("draining", &self.refused_draining),
            ("invalid", &self.refused_invalid),
            ("key", &self.refused_key),
            ("request_rate", &self.refused_requests),
            ("token_rate", &self.refused_tokens),
            ("connections", &self.refused_connection),
        ] {
            let label = format!("reason=\"{reason}\",key_class=\"none\"");
            text.value("admission_rejected_total", &label, counter.get());
        }
    }
}

/// Figures by key. A name of a key has no character that would have to be escaped.
fn write_keys(text: &mut Text, tenants: &[Arc<Tenant>]) {
    type Figure = fn(&Tenant) -> &Counter;
    let figures: [(&str, &str, Figure); 4] = [
        ("key_requests_total", "Requests by key", |tenant| &tenant.asked),
        ("key_refused_total", "Requests refused by key", |tenant| &tenant.refused),
        ("key_prompt_tokens_total", "Prompt tokens by key", |tenant| &tenant.prompt_tokens),
        ("key_generation_tokens_total", "Tokens sent by key", |tenant| &tenant.generation_tokens),
    ];
    for (name, help, figure) in figures {
        text.head(name, "counter", help);
        for tenant in tenants {
            text.value(name, &format!("key=\"{}\"", tenant.name), figure(tenant).get());
        }
    }
}

/// Writes the text format.
pub(crate) struct Text {
    out: String,
    model: String,
}

impl Text {
    pub(crate) fn into_string(self) -> String {
        self.out
    }

    pub(crate) fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.out, "# HELP {name} {help}.\n# TYPE {name} {kind}");
    }

    pub(crate) fn value(&mut self, name: &str, labels: &str, value: u64) {
        let comma = if labels.is_empty() { "" } else { "," };
        let _ =
            writeln!(self.out, "{name}{{model_name=\"{}\"{comma}{labels}}} {value}", self.model);
    }

    pub(crate) fn plain(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        self.value(name, "", value);
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        for (bound, count) in histogram.cumulative() {
            self.value(&bucket, &format!("le=\"{bound}\""), count);
        }
        let (count, sum) = histogram.totals();
        let _ = writeln!(self.out, "{name}_sum{{model_name=\"{}\"}} {sum}", self.model);
        self.value(&format!("{name}_count"), "", count);
    }
}

/// Escapes what the format asks for in values of labels.
fn label_value(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_labels_are_escaped() {
        let text = Metrics::default().to_text("a\"b\\c\nd", (0, 0), &Tenants::new(None));
        let text = text.into_string();
        assert!(text.contains(r#"vllm:num_requests_running{model_name="a\"b\\c\nd"} 0"#));
    }

    #[test]
    fn every_name_that_dashboards_of_vllm_know_is_there() {
        let text = Metrics::default().to_text("test", (0, 0), &Tenants::new(None)).into_string();
        for name in "num_requests_running num_requests_waiting prompt_tokens_total \
                     generation_tokens_total request_success_total time_to_first_token_seconds \
                     inter_token_latency_seconds time_per_output_token_seconds \
                     request_time_per_output_token_seconds e2e_request_latency_seconds \
                     request_queue_time_seconds request_prefill_time_seconds \
                     request_decode_time_seconds request_inference_time_seconds \
                     request_prompt_tokens request_generation_tokens request_params_max_tokens \
                     kv_cache_usage_perc prefix_cache_hits_total prefix_cache_queries_total \
                     lora_requests_info cache_config_info"
            .split_whitespace()
        {
            assert!(text.contains(&format!("# TYPE vllm:{name} ")), "{name}");
        }
    }

    #[test]
    fn every_line_is_a_comment_or_a_sample() {
        let metrics = Metrics::default();
        metrics.first_token.observe(20_000_000);
        let tenants = Tenants::new(Some(&"a:k".parse().unwrap()));
        for line in metrics.to_text("test", (0, 0), &tenants).into_string().lines() {
            let is_sample = line
                .split_once("} ")
                .is_some_and(|(name, value)| name.contains('{') && value.parse::<f64>().is_ok());
            assert!(line.starts_with("# ") || is_sample, "{line}");
        }
    }
}
