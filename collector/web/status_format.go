package web

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// moment is a time for people and for programs.
type moment struct{ Text, ISO string }

func momentOf(t time.Time) moment {
	return moment{clock(t), t.UTC().Format(time.RFC3339)}
}

func clock(t time.Time) string { return t.UTC().Format(time.TimeOnly) + " UTC" }

// age is a time span in the two units that matter.
func age(d time.Duration) string {
	const day = 24 * time.Hour
	d = max(0, d).Round(time.Second)
	part := func(of, unit time.Duration) int { return int(d % of / unit) }
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", part(time.Minute, time.Second))
	case d < time.Hour:
		return fmt.Sprintf("%dm %ds", part(time.Hour, time.Minute), part(time.Minute, time.Second))
	case d < day:
		return fmt.Sprintf("%dh %dm", part(day, time.Hour), part(time.Hour, time.Minute))
	default:
		return fmt.Sprintf("%dd %dh", d/day, part(day, time.Hour))
	}
}

// number writes a whole number from 0 with separators of thousands.
func number(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// decimal writes a number with one decimal, unless that is 0.
func decimal(x float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(x, 'f', 1, 64), ".0")
}

// percent writes a share of a total. Just nothing is 0%, and just all is 100%.
func percent(n, total int) string {
	if total == 0 {
		return ""
	}
	switch share := 100 * float64(n) / float64(total); {
	case n > 0 && share < 0.1:
		return "<0.1%"
	case n < total && share > 99.9:
		return ">99.9%"
	default:
		return decimal(share) + "%"
	}
}

// A bar is this wide, in units of its own, and so much lies between its parts.
const (
	barWidth = 1000.0
	barGap   = 4.0
	// minWidth keeps a part visible that is tiny but not zero.
	minWidth = 12.0
)

// segment is where a part of a bar lies.
type segment struct{ X, Width float64 }

// layOut divides a bar in proportion to the counts, with at least minWidth for
// each that is not zero.
func layOut(counts []int) []segment {
	segments := make([]segment, len(counts))
	room, total := barWidth+barGap, 0
	for _, n := range counts {
		if total += n; n > 0 {
			room -= barGap
		}
	}
	// What one part gets too much the others lack, which may make another one
	// too small.
	for again := true; again; {
		again = false
		for i, n := range counts {
			if n > 0 && segments[i].Width == 0 && float64(n)/float64(total)*room < minWidth {
				segments[i].Width = minWidth
				room -= minWidth
				total -= n
				again = true
			}
		}
	}
	x := 0.0
	for i, n := range counts {
		if n == 0 {
			continue
		}
		if segments[i].Width == 0 {
			segments[i].Width = float64(n) / float64(total) * room
		}
		segments[i].X = math.Round(x*10) / 10
		x += segments[i].Width + barGap
		segments[i].Width = math.Round(segments[i].Width*10) / 10
	}
	return segments
}
