package dockerargs

import (
	"regexp"
	"strconv"

	"github.com/docker/cli/opts"
	"github.com/docker/go-units"
	"github.com/samber/lo"
)

var limitOptions = []option{
	{names: []string{"m", "memory"}, parse: size(KindMemory, func(s *Settings, n int64) { s.Memory = n }), example: "8g"},
	{names: []string{"memory-swap"}, parse: memorySwap, example: "8g"},
	{names: []string{"cpus"}, parse: cpus, example: "1.5"},
	{names: []string{"cpu-quota"}, parse: quota(kindQuota, 1000), example: "150000"},
	{names: []string{"cpu-period"}, parse: quota(kindPeriod, 1000), example: "100000"},
	{names: []string{"cpuset-cpus"}, parse: cpuset, example: "0-3"},
	{names: []string{"c", "cpu-shares"}, parse: weight(2, 262144, func(s *Settings, n int64) { s.CPUShares = n }), example: "512"},
	{names: []string{"blkio-weight"}, parse: weight(10, 1000, func(s *Settings, n int64) { s.BlkioWeight = n }), example: "250"},
	{names: []string{"pids-limit"}, parse: pidsLimit, example: "1000"},
	{names: []string{"oom-score-adj"}, parse: oomScore, example: "500"},
	{names: []string{"ulimit"}, parse: ulimit, example: "nofile=1024:4096"},
}

// size reads bytes; 0 is the default of what it is for.
func size(kind Kind, set func(*Settings, int64)) func(string) (Request, error) {
	return func(value string) (Request, error) {
		var n opts.MemBytes
		if err := n.Set(value); err != nil {
			return Request{}, err
		}
		switch r := (Request{Kind: kind}); {
		case n < 0: // a number too large for 64 bits
			return Request{}, fault{"is out of range", "write it as 8g"}
		case n == 0:
			return Request{}, nil
		default:
			set(&r.Settings, n.Value())
			return r, nil
		}
	}
}

func memorySwap(value string) (Request, error) {
	var n opts.MemSwapBytes
	if err := n.Set(value); err != nil {
		return Request{}, err
	}
	switch {
	case n == 0:
		return Request{}, nil
	case n < -1:
		return Request{}, fault{"is out of range", "write it as 8g"}
	}
	return Request{Kind: KindSwap, Settings: Settings{MemorySwap: n.Value()}}, nil
}

// cpusForm keeps 1e999999999 from Docker's reading, which would count to it.
var cpusForm = regexp.MustCompile(`^([0-9]{1,6}(\.[0-9]{0,9})?|\.[0-9]{1,9})$`)

func cpus(value string) (Request, error) {
	var n opts.NanoCPUs
	if !cpusForm.MatchString(value) || n.Set(value) != nil {
		return Request{}, fault{"is no number of CPUs", "write it as 1.5"}
	}
	if n == 0 {
		return Request{}, nil
	}
	return cores(float64(n) / 1e9)
}

func cores(n float64) (Request, error) {
	if n < 0.01 {
		return Request{}, fault{"is less than a hundredth of a CPU", "write it as 1.5"}
	}
	return Request{Kind: KindCPUs, Settings: Settings{CPUs: n}}, nil
}

func number(value string, least, most int64) (int64, error) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < least || n > most {
		return 0, fault{"is no whole number of " + strconv.FormatInt(least, 10) + " to " + strconv.FormatInt(most, 10), "write it in digits"}
	}
	return n, nil
}

func quota(kind Kind, least int64) func(string) (Request, error) {
	return func(value string) (Request, error) {
		if value == "0" || value == "-1" {
			return Request{}, nil
		}
		n, err := number(value, least, 1e12)
		return Request{Kind: kind, amount: n}, err
	}
}

// joinQuota makes one request for CPUs of the last quota and the last period, which
// mean nothing alone. The kernel's own period is 100 ms.
func joinQuota(requests []Request) []Request {
	period := int64(100000)
	var last *Request
	for i := range requests {
		switch r := &requests[i]; r.Kind {
		case kindPeriod:
			period = r.amount
		case kindQuota:
			last = r
		}
	}
	if last != nil {
		last.Kind, last.Settings.CPUs = KindCPUs, max(0.01, float64(last.amount)/float64(period))
	}
	return lo.Filter(requests, func(r Request, _ int) bool { return r.Kind != kindQuota && r.Kind != kindPeriod })
}

var cpusetForm = regexp.MustCompile(`^[0-9]{1,4}(-[0-9]{1,4})?(,[0-9]{1,4}(-[0-9]{1,4})?)*$`)

func cpuset(value string) (Request, error) {
	if len(value) > 1000 || !cpusetForm.MatchString(value) {
		return Request{}, fault{"is no list of CPUs", "write it as 0-3,8"}
	}
	return Request{Kind: KindFree, Settings: Settings{CPUSet: value}}, nil
}

func weight(least, most int64, set func(*Settings, int64)) func(string) (Request, error) {
	return func(value string) (Request, error) {
		if value == "0" {
			return Request{}, nil
		}
		n, err := number(value, least, most)
		r := Request{Kind: KindWeight}
		set(&r.Settings, n)
		return r, err
	}
}

func pidsLimit(value string) (Request, error) {
	if value == "0" {
		value = "-1"
	}
	n, err := number(value, -1, 1<<22)
	return Request{Kind: KindPIDs, Settings: Settings{PIDs: n}}, err
}

// oomScore: a task may only offer itself to be killed first.
func oomScore(value string) (Request, error) {
	n, err := number(value, -1000, 1000)
	if err != nil || n == 0 {
		return Request{}, err
	}
	if n < 0 {
		return denial("would have others killed in the place of the task", noKey)(value)
	}
	return Request{Kind: KindFree, Settings: Settings{OOMScoreAdj: int(n)}}, nil
}

func ulimit(value string) (Request, error) {
	u, err := units.ParseUlimit(value)
	if err != nil {
		return Request{}, err
	}
	if u.Soft < Unlimited || u.Hard < Unlimited {
		return Request{}, fault{"is out of range", "write -1 for no limit"}
	}
	return Request{Kind: KindUlimit, Settings: Settings{Ulimits: []Ulimit{{Name: u.Name, Soft: u.Soft, Hard: u.Hard}}}}, nil
}
