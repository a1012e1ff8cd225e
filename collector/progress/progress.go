// Package progress shows on a terminal how far a long piece of work has come, in
// one line that is gone when the work is done. Anywhere else it shows nothing.
package progress

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// interval is how often the line is drawn anew.
const interval = 250 * time.Millisecond

// Show draws the line that text returns on w, again and again, until the
// returned function is called, which takes the line away. If w is no terminal,
// text is never called.
func Show(w io.Writer, text func() string) (stop func()) {
	if !terminal(w) {
		return func() {}
	}
	return draw(w, text)
}

// terminal tells whether somebody may be looking at w.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// clearLine moves to the begin of the line and empties it.
const clearLine = "\r\x1b[K"

func draw(w io.Writer, text func() string) (stop func()) {
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			_, _ = fmt.Fprint(w, clearLine, text())
			select {
			case <-tick.C:
			case <-done:
				_, _ = fmt.Fprint(w, clearLine)
				return
			}
		}
	}()
	var once sync.Once
	return func() {
		once.Do(func() { close(done) })
		<-gone
	}
}
