package shim

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"agentctl/runtime/internal/record"
)

// mostBehind is how much of a console may wait for the server: a task that talks while
// the server is away for days must not fill the disk of its node.
const mostBehind = 1 << 30

var errBehind = fmt.Errorf("%d MiB of it waited for the server already", mostBehind>>20)

// backlog tells how much of a console is not on the server yet.
type backlog struct {
	dir  string
	f    *os.File // the console
	most int64

	left   int64     // bytes that may be written before it has to be looked at again
	looked time.Time // when it was full
}

// room tells whether n more bytes may be written at a time. It looks at the files only
// when what was left is used up, and once a second while there is no room.
func (b *backlog) room(n int64, at time.Time) bool {
	if b.left < n {
		if since := at.Sub(b.looked); since >= 0 && since < time.Second {
			return false
		}
		b.left = b.measure()
	}
	if b.left < n {
		b.looked = at
		return false
	}
	b.left -= n
	return true
}

// measure is what may be written now.
func (b *backlog) measure() int64 {
	fi, err := b.f.Stat()
	if err != nil {
		return b.most
	}
	var cursor struct {
		Sent struct {
			Pos struct {
				Frame int64 `json:"frame"`
			} `json:"pos"`
		} `json:"sent"`
	}
	data, err := os.ReadFile(filepath.Join(b.dir, record.CursorFile))
	if err == nil {
		err = json.Unmarshal(data, &cursor)
	}
	if err != nil || cursor.Sent.Pos.Frame < 0 {
		cursor.Sent.Pos.Frame = 0 // nothing was sent yet
	}
	return b.most - max(0, fi.Size()-cursor.Sent.Pos.Frame)
}
