package faults

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// measures are what a process must not pile up, and how much more of it the last
// quarter of a soak may show than the second.
var measures = []struct {
	metric, title string
	unit          float64
	part, more    float64
}{
	{"process_resident_memory_bytes", "resident memory, MiB", 1 << 20, 0.15, 0},
	{"go_memstats_heap_inuse_bytes", "heap in use, MiB", 1 << 20, 0.15, 0},
	{"go_goroutines", "goroutines", 1, 0, 10},
	{"process_open_fds", "open descriptors", 1, 0, 10},
}

// measurement is a moment's values of the measures.
type measurement struct {
	at     time.Duration
	values [4]float64
}

func measure(at time.Duration, families map[string]*dto.MetricFamily) measurement {
	m := measurement{at: at}
	for i, x := range measures {
		m.values[i] = value(families[x.metric].GetMetric()[0]) / x.unit
	}
	return m
}

// quarters are the values of a measure, sorted, by quarter of the soak.
func quarters(all []measurement, i int) [4][]float64 {
	var q [4][]float64
	for n, m := range all {
		k := n * 4 / len(all)
		q[k] = append(q[k], m.values[i])
	}
	for _, values := range q {
		slices.Sort(values)
	}
	return q
}

func median(sorted []float64) float64 { return sorted[len(sorted)/2] }

// judge logs what was measured, and checks that it is flat.
func judge(t *testing.T, worlds []*soaked) {
	t.Helper()
	for i, x := range measures {
		for _, w := range worlds {
			if len(w.measured) < 4 {
				continue // a trial
			}
			q := quarters(w.measured, i)
			line := fmt.Sprintf("%-21s of exporter %d, min/median/max by quarter:", x.title, w.number)
			for _, values := range q {
				line += fmt.Sprintf("  %.1f/%.1f/%.1f", values[0], median(values), values[len(values)-1])
			}
			t.Log(line)
			if most := median(q[1])*(1+x.part) + x.more; w.long() && median(q[3]) > most {
				t.Errorf("%s of exporter %d grows: %.1f are more than %.1f", x.title, w.number, median(q[3]), most)
			}
		}
	}
}

// plot draws what was measured, as SVG: a chart for each measure, a line in it
// for each exporter.
func plot(worlds []*soaked) string {
	const width, height, left, gap = 900.0, 130.0, 60.0, 45.0
	colors := []string{"#1f77b4", "#d95f02"}
	var end time.Duration
	for _, w := range worlds {
		end = max(end, w.measured[len(w.measured)-1].at)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" font-family="sans-serif" font-size="12">`+"\n", left+width+40, 30+float64(len(measures))*(height+gap))
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="%g" y="18">Two exporters under faults, for %s:`, left, end.Round(time.Second))
	for n := range worlds {
		fmt.Fprintf(&b, ` <tspan fill="%s">exporter %d</tspan>`, colors[n%len(colors)], n)
	}
	b.WriteString("</text>\n")
	for i, x := range measures {
		top := 50 + float64(i)*(height+gap)
		most := 0.0
		for _, w := range worlds {
			for _, m := range w.measured {
				most = max(most, m.values[i])
			}
		}
		step := math.Pow(10, math.Floor(math.Log10(most)))
		if most/step < 3 {
			step /= 2
		}
		most = math.Ceil(most/step) * step
		fmt.Fprintf(&b, `<text x="%g" y="%g" font-weight="bold">%s</text>`+"\n", left, top-6, x.title)
		for v := 0.0; v <= most; v += step {
			y := top + height*(1-v/most)
			fmt.Fprintf(&b, `<path d="M%g %.1fh%g" stroke="#ddd"/><text x="%g" y="%.1f" text-anchor="end">%g</text>`+"\n", left, y, width, left-6, y+4, v)
		}
		for n, w := range worlds {
			var points strings.Builder
			for _, m := range w.measured {
				fmt.Fprintf(&points, "%.1f,%.1f ", left+width*float64(m.at)/float64(end), top+height*(1-m.values[i]/most))
			}
			fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" points="%s"/>`+"\n", colors[n%len(colors)], points.String())
		}
		for k := range 5 {
			at := time.Duration(k) * end / 4
			fmt.Fprintf(&b, `<text x="%g" y="%g" text-anchor="middle" fill="#666">%s</text>`+"\n", left+width*float64(k)/4, top+height+16, at.Round(time.Second))
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}
