package collector

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"huawei_iot_batch_exporter/collector/census"
	"huawei_iot_batch_exporter/collector/northbound"
)

// namespace of all metrics.
const namespace = "huawei_iot_batch"

// telemetry counts the calls of one application. It goes on over a reload.
type telemetry struct {
	requests  *prometheus.CounterVec
	errors    *prometheus.CounterVec
	throttled *prometheus.CounterVec
	deferred  prometheus.Counter
	duration  *prometheus.HistogramVec

	failures map[failure]bool // that have label values of their own
}

// failure is what is told of a failed call.
type failure struct {
	operation        northbound.Operation
	httpStatus, code string
}

// maxFailures bounds the series that a platform gone mad can make.
const maxFailures = 100

// documentedErrors are the errors of an operation that the platform documents.
// They are counted from 0, so that the first one is an increase.
var documentedErrors = map[northbound.Operation][]struct {
	httpStatus int // 0: none was read
	code       string
}{
	northbound.OperationTaskDetails: {
		{400, "100022"},
		{403, "100203"},
		{403, "100217"},
		{403, "1010005"},
		{403, "1010009"},
		{404, "105005"},
		{500, "100203"},
		{500, "50252"},
		{503, "100501"},
		{0, string(northbound.KindTimeout)},
		{0, string(northbound.KindConnection)},
		{0, string(northbound.KindTLS)},
		{0, string(northbound.KindCanceled)},
		{200, string(northbound.KindMalformed)},
		{502, string(northbound.KindMalformed)},
	},
	northbound.OperationLogin: {
		{400, "100247"},
		{400, "102202"},
		{401, "100208"},
		{500, "50252"},
		{0, string(northbound.KindTimeout)},
		{0, string(northbound.KindConnection)},
		{0, string(northbound.KindTLS)},
	},
}

func newTelemetry(application string) *telemetry {
	labels := prometheus.Labels{"application": application}
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: namespace, Subsystem: "api", Name: name, Help: help, ConstLabels: labels}
	}
	t := &telemetry{
		requests:  prometheus.NewCounterVec(counter("requests_total", "Calls sent to the platform."), []string{"operation"}),
		errors:    prometheus.NewCounterVec(counter("errors_total", "Calls to the platform that failed, throttled ones too."), []string{"operation", "http_status", "error_code"}),
		throttled: prometheus.NewCounterVec(counter("throttled_total", "Calls that the platform's flow control refused."), []string{"operation"}),
		deferred:  prometheus.NewCounter(counter("deferred_total", "Refreshes of a task that a scrape put off because the allowance had no call left.")),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: "api", Name: "request_duration_seconds",
			Help:                            "Duration of calls to the platform, to the end of the answer.",
			ConstLabels:                     labels,
			Buckets:                         []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: 3600e9,
		}, []string{"operation"}),
	}
	t.failures = make(map[failure]bool)
	for _, operation := range northbound.Operations() {
		t.requests.WithLabelValues(string(operation))
		t.throttled.WithLabelValues(string(operation))
		t.duration.WithLabelValues(string(operation))
	}
	for operation, documented := range documentedErrors {
		for _, e := range documented {
			t.failed(operation, e.httpStatus, e.code)
		}
	}
	return t
}

func (t *telemetry) observe(call northbound.Call) {
	operation := string(call.Operation)
	t.requests.WithLabelValues(operation).Inc()
	t.duration.WithLabelValues(operation).Observe(call.Duration.Seconds())
	e, failed := asError(call.Err)
	if !failed {
		return
	}
	t.failed(call.Operation, e.HTTPStatus, e.Label()).Inc()
	if e.Is(northbound.ErrThrottled) {
		t.throttled.WithLabelValues(operation).Inc()
	}
}

// failed returns the counter of a failure. Where there are too many, they count
// together under the code [census.CodeOther], without an HTTP status.
func (t *telemetry) failed(operation northbound.Operation, status int, code string) prometheus.Counter {
	f := failure{operation, httpStatus(status), census.Label(code)}
	switch {
	case t.failures[f]:
	case len(t.failures) < maxFailures:
		t.failures[f] = true
	default:
		f.httpStatus, f.code = "", census.CodeOther
	}
	return t.errors.WithLabelValues(string(f.operation), f.httpStatus, f.code)
}

func (t *telemetry) collect(ch chan<- prometheus.Metric) {
	for _, c := range []prometheus.Collector{t.requests, t.errors, t.throttled, t.deferred, t.duration} {
		c.Collect(ch)
	}
}

func httpStatus(code int) string {
	if code == 0 {
		return ""
	}
	return strconv.Itoa(code)
}
