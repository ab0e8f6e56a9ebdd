package front

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"time"
)

// fault is one way in which a request comes to grief.
type fault struct {
	name string
	of   int // in a thousand requests
	do   func(w http.ResponseWriter, r *http.Request, next http.Handler)
}

// before refuses a request that then has no effect, after answers so one that had it.
func before(code int) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { fail(w, code) }
}

func after(code int) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(httptest.NewRecorder(), r)
		fail(w, code)
	}
}

func fail(w http.ResponseWriter, code int) {
	if code == http.StatusBadGateway || code == http.StatusGatewayTimeout { // of a proxy, which knows no envelope
		http.Error(w, "<html>upstream</html>", code)
		return
	}
	write(w, code, map[string]any{"meta": map[string]any{"result_code": code, "result_subcode": 0, "result_msg": "a bad day"}, "data": map[string]any{}})
}

// faults are those of a bad day. A 503 always comes before the effect: so it is with
// the server's own, and a client repeats even a pop after it.
var faults = []fault{
	{"500 before", 40, before(http.StatusInternalServerError)},
	{"500 after", 30, after(http.StatusInternalServerError)},
	{"502 before", 20, before(http.StatusBadGateway)},
	{"502 after", 20, after(http.StatusBadGateway)},
	{"503", 40, before(http.StatusServiceUnavailable)},
	{"504 after", 20, after(http.StatusGatewayTimeout)},
	{"token refused", 20, before(http.StatusUnauthorized)},
	{"cut before", 30, func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }},
	{"answer lost", 40, func(_ http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	}},
	{"cut in the middle", 30, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		whole := httptest.NewRecorder()
		next.ServeHTTP(whole, r)
		text := whole.Body.Bytes()
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		w.WriteHeader(whole.Code)
		_, _ = w.Write(text[:len(text)/2])
		panic(http.ErrAbortHandler)
	}},
	{"late", 60, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		time.Sleep(rand.N(50 * time.Millisecond))
		next.ServeHTTP(w, r)
	}},
}

// Faults is a proxy on a bad day.
type Faults struct {
	next http.Handler

	mu     sync.Mutex
	random *rand.Rand // nil on a good day
	down   bool
	met    map[string]int
}

// NewFaults is a proxy before next, on a good day until Bad.
func NewFaults(next http.Handler) *Faults { return &Faults{next: next, met: map[string]int{}} }

// Bad begins a bad day, which the seed decides.
func (f *Faults) Bad(seed uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.random = rand.New(rand.NewPCG(seed, 0))
}

// Down cuts every connection, or no longer.
func (f *Faults) Down(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
}

// Met counts the faults so far, by their names.
func (f *Faults) Met() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[string]int{}
	for name, n := range f.met {
		out[name] = n
	}
	return out
}

// Kinds is how many kinds of faults there are.
func Kinds() int { return len(faults) }

// ServeHTTP passes a request on, or does not.
func (f *Faults) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if do := f.choose(); do != nil {
		do(w, r, f.next)
		return
	}
	f.next.ServeHTTP(w, r)
}

func (f *Faults) choose() func(http.ResponseWriter, *http.Request, http.Handler) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }
	}
	if f.random == nil {
		return nil
	}
	n := f.random.IntN(1000)
	for _, one := range faults {
		if n -= one.of; n < 0 {
			f.met[one.name]++
			return one.do
		}
	}
	return nil
}
