package progress

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

func TestDraw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		n := 0
		stop := draw(&out, func() string { n++; return fmt.Sprintf("%d of 3", n) })
		time.Sleep(2*interval + time.Millisecond)
		stop()
		stop()
		want := clearLine + "1 of 3" + clearLine + "2 of 3" + clearLine + "3 of 3" + clearLine
		if got := out.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestNothingIsShownElsewhere(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // a test's
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // a test's
	defer w.Close() //nolint:errcheck // a test's
	for _, f := range []*os.File{file, w} {
		Show(f, func() string { t.Error("called"); return "" })()
	}
	Show(new(bytes.Buffer), func() string { t.Error("called"); return "" })()
}
