package server

import (
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are the server's counters. No label holds what a client can choose.
type metrics struct {
	registry    *prometheus.Registry
	requests    *prometheus.CounterVec
	unsupported *prometheus.CounterVec
	services    map[string]bool

	log  *slog.Logger
	mu   sync.Mutex
	told map[string]bool // unsupported endpoints that the log has named
}

// maxTold bounds the unsupported endpoints that are named in the log.
const maxTold = 200

func newMetrics(a *api, log *slog.Logger) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "agentctl_server_requests_total", Help: "Requests to supported endpoints, by HTTP status.",
		}, []string{"endpoint", "code"}),
		unsupported: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "agentctl_server_unsupported_requests_total",
			Help: "Requests to endpoints that the embedded server does not have, by service; other for services that it does not have. Its log names each once.",
		}, []string{"service"}),
		services: map[string]bool{}, log: log, told: map[string]bool{},
	}
	for name := range a.endpoints {
		service, _, _ := strings.Cut(name, ".")
		m.services[service] = true
	}
	m.registry.MustRegister(m.requests, m.unsupported, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) request(endpoint string, code int) {
	m.requests.WithLabelValues(endpoint, strconv.Itoa(code)).Inc()
}

// missing counts a request to an endpoint that is not there.
func (m *metrics) missing(name string) {
	service, _, _ := strings.Cut(name, ".")
	if !m.services[service] {
		service = "other"
	}
	m.unsupported.WithLabelValues(service).Inc()
	m.mu.Lock()
	first := !m.told[name] && len(m.told) < maxTold
	if first {
		m.told[name] = true
	}
	m.mu.Unlock()
	if first {
		m.log.Warn("a client asked for an endpoint that this server does not have", "endpoint", name)
	}
}

// serveMetrics shows the metrics to the operator.
func (a *api) serveMetrics(w http.ResponseWriter, r *http.Request) {
	who, err := a.srv.keys.authorize(r, false)
	if err == nil && who.task != "" {
		err = forbidden("metrics")
	}
	if err != nil {
		refused, _ := asRefusal(err)
		http.Error(w, refused.text, refused.code)
		return
	}
	promhttp.HandlerFor(a.metrics.registry, promhttp.HandlerOpts{}).ServeHTTP(w, r)
}
