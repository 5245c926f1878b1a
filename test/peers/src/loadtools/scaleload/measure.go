package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	fineWidth   = 20 * time.Microsecond
	fineCount   = 5000
	coarseWidth = time.Millisecond
	coarseCount = 20000
)

// histogram counts durations in steps of 20 µs up to 100 ms, of 1 ms above. Used by one goroutine.
type histogram struct {
	counts [fineCount + coarseCount]uint32
	n      uint64
	max    time.Duration
}

func (h *histogram) add(d time.Duration) {
	if d < 0 {
		d = 0
	}
	at := int(d / fineWidth)
	if at >= fineCount {
		at = min(fineCount+int((d-fineCount*fineWidth)/coarseWidth), len(h.counts)-1)
	}
	h.counts[at]++
	h.n++
	h.max = max(h.max, d)
}

func (h *histogram) merge(other *histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.n += other.n
	h.max = max(h.max, other.max)
}

// quantile gives the upper end of the step that holds it.
func (h *histogram) quantile(q float64) time.Duration {
	left := uint64(q * float64(h.n))
	for i, n := range h.counts {
		if uint64(n) > left {
			if i < fineCount {
				return min(time.Duration(i+1)*fineWidth, h.max)
			}
			return min(fineCount*fineWidth+time.Duration(i-fineCount+1)*coarseWidth, h.max)
		}
		left -= uint64(n)
	}
	return h.max
}

func (h *histogram) String() string {
	return fmt.Sprintf("n=%d p50=%.2fms p99=%.2fms p999=%.2fms max=%.2fms", h.n,
		ms(h.quantile(.5)), ms(h.quantile(.99)), ms(h.quantile(.999)), ms(h.max))
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

// cpu is what a process has used so far; of pid 0, this one.
func cpu(pid int) time.Duration {
	if pid == 0 {
		var u syscall.Rusage
		if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
			return 0
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		fatal(err)
	}
	rest := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
	user, _ := strconv.Atoi(rest[11])
	system, _ := strconv.Atoi(rest[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// used tells what tool and server have burnt since it was made.
type used struct {
	pid          int
	tool, server time.Duration
	begun        time.Time
}

func startUse(pid int) used {
	u := used{pid: pid, tool: cpu(0), begun: time.Now()}
	if pid != 0 {
		u.server = cpu(pid)
	}
	return u
}

// report gives cores used: "secs=60.0 tool_cores=0.41 server_cores=0.39".
func (u used) report() string {
	secs := time.Since(u.begun).Seconds()
	text := fmt.Sprintf("secs=%.2f tool_cores=%.3f", secs, (cpu(0)-u.tool).Seconds()/secs)
	if u.pid != 0 {
		text += fmt.Sprintf(" server_cores=%.3f", (cpu(u.pid)-u.server).Seconds()/secs)
	}
	return text
}
