package allowance

import "context"

// Priority orders those who wait for a call: the lower value goes first.
type Priority int

// The priorities, in the order in which they are served. Whoever names none is
// Configured; values outside this range count as the nearest one.
const (
	// Configured is for what the user has configured.
	Configured Priority = iota
	// Probe is for what somebody asks for in passing. It respects the reserve.
	Probe
	// Background is for what may wait. It respects the reserve.
	Background
)

type priorityKey struct{}

// WithPriority returns a context whose calls to [Allowance.Acquire] and
// [Allowance.TryAcquire] have priority p.
func WithPriority(ctx context.Context, p Priority) context.Context {
	return context.WithValue(ctx, priorityKey{}, p)
}

func priorityOf(ctx context.Context) Priority {
	p, _ := ctx.Value(priorityKey{}).(Priority)
	return p.clamp()
}

func (p Priority) clamp() Priority {
	return min(max(p, Configured), Background)
}
