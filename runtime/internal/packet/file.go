package packet

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxFile bounds what is read of a File.
const maxFile = 16 << 20

// File is a message that may be longer than a packet, in memory, to be sent beside
// one.
func File(message any) (*os.File, error) {
	data, err := json.Marshal(message)
	if err != nil {
		return nil, err
	}
	return Memory(data)
}

// Memory is a file in memory that holds data.
func Memory(data []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("message", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot hand a message over: %w", err)
	}
	f := os.NewFile(uintptr(fd), "message")
	if _, err := f.WriteAt(data, 0); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("cannot hand a message over: %w", err)
	}
	return f, nil
}

// ReadFile reads the message that a File holds, wherever its offset is.
func ReadFile(f *os.File, message any) error {
	if err := json.NewDecoder(io.NewSectionReader(f, 0, maxFile)).Decode(message); err != nil {
		return fmt.Errorf("cannot read a message: %w", err)
	}
	return nil
}
