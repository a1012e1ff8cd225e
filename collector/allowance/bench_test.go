package allowance_test

import (
	"context"
	"testing"
	"time"

	"huawei_iot_batch_exporter/collector/allowance"
)

func BenchmarkAcquire(b *testing.B) {
	for name, waiting := range map[string]int{"uncontended": 0, "100 waiting": 100} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := b.N; i > 0; i -= 1000 { // by then an allowance is used up
				b.StopTimer()
				ctx, cancel := context.WithCancel(b.Context())
				a := allowance.New(1001)
				a.SetReserve(1001)
				crowd(ctx, a, waiting)
				b.StartTimer()
				for range min(i, 1000) {
					release, err := a.Acquire(ctx)
					if err != nil {
						b.Fatal(err)
					}
					release(answered)
				}
				cancel()
			}
		})
	}
}

// crowd returns when n callers wait behind the reserve.
func crowd(ctx context.Context, a *allowance.Allowance, n int) {
	if n == 0 {
		return
	}
	ctx = allowance.WithPriority(ctx, allowance.Background)
	for range n + 1 {
		go func() {
			if release, err := a.Acquire(ctx); err == nil {
				release(answered)
			}
		}()
	}
	for a.Stats().Waiting < n {
		time.Sleep(time.Millisecond)
	}
}

func BenchmarkNextAt(b *testing.B) {
	a := allowance.New(100)
	a.SetReserve(100)
	crowd(b.Context(), a, 100)
	b.ReportAllocs()
	for b.Loop() {
		a.NextAt(allowance.Background)
	}
}
