package web

import (
	"math"
	"testing"
	"time"
)

func TestNumber(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 30_000: "30,000", 100_000: "100,000", 1_234_567: "1,234,567"} {
		if got := number(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestPercent(t *testing.T) {
	for of, want := range map[[2]int]string{
		{0, 0}: "", {0, 7}: "0%", {7, 7}: "100%", {1, 30_000}: "<0.1%", {29_999, 30_000}: ">99.9%", {1, 3}: "33.3%", {1, 4}: "25%", {1, 1000}: "0.1%", {999, 1000}: "99.9%",
	} {
		if got := percent(of[0], of[1]); got != want {
			t.Errorf("%d of %d: %q, want %q", of[0], of[1], got, want)
		}
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 59*time.Second + 400*time.Millisecond: "59s", 59*time.Second + 600*time.Millisecond: "1m 0s",
		90 * time.Second: "1m 30s", 2*time.Hour + 59*time.Second: "2h 0m", 24 * time.Hour: "1d 0h", 49 * time.Hour: "2d 1h", 1000 * time.Hour: "41d 16h",
	} {
		if got := age(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}

func TestBars(t *testing.T) {
	for name, counts := range map[string][]int{
		"nothing":       {},
		"only zeros":    {0, 0, 0},
		"one":           {0, 7, 0},
		"even":          {5, 5, 5, 5},
		"tiny":          {1, 1, 30_000, 0, 1},
		"nearly tiny":   {12, 13, 975, 1},
		"many statuses": {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 1_000_000},
	} {
		t.Run(name, func(t *testing.T) {
			const rounding = 0.1
			end := -barGap
			for i, s := range layOut(counts) {
				if counts[i] == 0 {
					if s.Width != 0 {
						t.Errorf("part %d of nothing is %v wide", i, s.Width)
					}
					continue
				}
				if s.Width < minWidth-rounding {
					t.Errorf("part %d cannot be seen: %v", i, s.Width)
				}
				if math.Abs(s.X-end-barGap) > rounding {
					t.Errorf("part %d is at %v, the one before ends at %v", i, s.X, end)
				}
				for j, other := range layOut(counts) {
					if counts[j] > counts[i] && other.Width < s.Width {
						t.Errorf("%d is wider than %d", counts[i], counts[j])
					}
				}
				end = s.X + s.Width
			}
			if end > 0 && math.Abs(end-barWidth) > rounding {
				t.Errorf("the bar ends at %v", end)
			}
		})
	}
}
