//go:build cgo

package sandbox

// #include "capture.h"
import "C"

import (
	"encoding/binary"
	"errors"
	"fmt"
	goruntime "runtime"
	"syscall"
	"unsafe"

	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runc/libcontainer/seccomp"
)

// capture has libcontainer make a filter and load it, and takes it out of the system
// call by which it would be loaded: what it makes of the filter of libseccomp it offers
// nobody else. It must not be called twice at once.
func capture(cfg *configs.Seccomp) ([]byte, error) {
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result)
	go func() {
		goruntime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		data, err := captureHere(cfg)
		done <- result{data, err}
	}()
	r := <-done
	if r.err != nil {
		return nil, fmt.Errorf("cannot see the filter of system calls: %w", r.err)
	}
	return r.data, nil
}

func captureHere(cfg *configs.Seccomp) ([]byte, error) {
	if errno := C.capture_begin(); errno != 0 {
		return nil, syscall.Errno(errno)
	}
	_, err := seccomp.InitSeccomp(cfg)
	got := C.capture_end()
	if err == nil && got.count == 0 {
		err = errors.New("there is none")
	}
	if err != nil {
		return nil, err
	}
	// As runner.c reads it: the flags, and from the eighth byte on the instructions.
	data := binary.NativeEndian.AppendUint64(nil, 0)
	binary.NativeEndian.PutUint32(data, uint32(got.flags))
	return append(data, unsafe.Slice((*byte)(unsafe.Pointer(&got.code[0])), int(got.count)*C.sizeof_struct_sock_filter)...), nil
}
