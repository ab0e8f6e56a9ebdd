package runtime

import (
	"encoding/binary"
	"errors"
	goruntime "runtime"
	"slices"
	"testing"
	"unsafe"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/contain"
)

// loadedFilter reads the filter of system calls of a process from the kernel.
func loadedFilter(t *testing.T, pid int) []bpf.Instruction {
	t.Helper()
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	must(t, unix.PtraceAttach(pid))
	defer func() { must(t, unix.PtraceDetach(pid)) }()
	var ws unix.WaitStatus
	_, err := unix.Wait4(pid, &ws, unix.WALL, nil)
	must(t, err)
	const getFilter = 0x420c // PTRACE_SECCOMP_GET_FILTER
	n, _, errno := unix.Syscall6(unix.SYS_PTRACE, getFilter, uintptr(pid), 0, 0, 0, 0)
	if errors.Is(errno, unix.EIO) || errors.Is(errno, unix.EACCES) {
		t.Skipf("this kernel does not show filters: %v", errno)
	}
	filter := make([]unix.SockFilter, n)
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, getFilter, uintptr(pid), 0, uintptr(unsafe.Pointer(&filter[0])), 0, 0); errno != 0 {
		t.Fatal(errno)
	}
	raw := make([]bpf.RawInstruction, n)
	for i, f := range filter {
		raw[i] = bpf.RawInstruction{Op: f.Code, Jt: f.Jt, Jf: f.Jf, K: f.K}
	}
	all, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("the filter can't be read")
	}
	return all
}

// verdict runs the filter on a call of this machine's architecture.
func verdict(t *testing.T, vm *bpf.VM, nr uint32, args [6]uint64) uint32 {
	t.Helper()
	const arch = 0xc000003e // AUDIT_ARCH_X86_64
	// struct seccomp_data, in the byte order that the VM reads.
	data := binary.BigEndian.AppendUint32(nil, nr)
	data = binary.BigEndian.AppendUint32(data, arch)
	data = append(data, make([]byte, 8)...)
	for _, a := range args {
		data = binary.BigEndian.AppendUint32(data, uint32(a))
		data = binary.BigEndian.AppendUint32(data, uint32(a>>32))
	}
	v, err := vm.Run(data)
	must(t, err)
	return uint32(v)
}

// The filter in the kernel allows, system call by system call, what the profile
// of this very release allows a process without capabilities.
func TestSandboxFilter(t *testing.T) {
	if goruntime.GOARCH != "amd64" {
		t.Skip("the numbers of system calls are amd64's")
	}
	task := staying(t, nil)
	pids, err := contain.Descendants(task.PID())
	must(t, err)
	vm, err := bpf.NewVM(loadedFilter(t, pids[1]))
	must(t, err)
	profile, err := seccomp.GetDefaultProfile(&specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{}}, Linux: &specs.Linux{}})
	must(t, err)
	allowed, conditional := map[string]bool{}, map[string]bool{}
	for _, call := range profile.Syscalls {
		for _, name := range call.Names {
			allowed[name] = allowed[name] || call.Action == specs.ActAllow && len(call.Args) == 0
			conditional[name] = conditional[name] || len(call.Args) > 0
		}
	}
	const allow = 0x7fff0000 // SECCOMP_RET_ALLOW
	yes, no := 0, 0
	for nr := range uint32(600) {
		name, err := libseccomp.ScmpSyscall(nr).GetNameByArch(libseccomp.ArchAMD64)
		if err != nil || conditional[name] && !allowed[name] {
			continue
		}
		got := verdict(t, vm, nr, [6]uint64{})
		if (got == allow) != allowed[name] {
			t.Errorf("%s (%d): the kernel is told %#x, the profile allows it: %v", name, nr, got, allowed[name])
		}
		if got == allow {
			yes++
		} else {
			no++
		}
	}
	if yes < 250 || no < 30 {
		t.Errorf("%d calls are allowed and %d not", yes, no)
	}
	for name, args := range map[string][6]uint64{
		"clone":       {unix.CLONE_NEWUSER},
		"unshare":     {unix.CLONE_NEWNS},
		"socket":      {unix.AF_VSOCK},
		"personality": {0x0040000},
	} {
		nr, err := libseccomp.GetSyscallFromName(name)
		must(t, err)
		if got := verdict(t, vm, uint32(nr), args); got == allow {
			t.Errorf("%s with %#x is allowed", name, args[0])
		}
	}
	if !slices.Contains([]uint32{0x00050026, 0x00050001}, verdict(t, vm, unix.SYS_CLONE3, [6]uint64{})) {
		t.Error("clone3, whose flags no filter sees, does not fail as if it were missing")
	}
}
