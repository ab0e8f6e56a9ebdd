// Package gpu finds the NVIDIA GPUs of the machine and says what a sandbox needs to
// use some of them.
//
// NVML, the driver's library, is opened at run time; a machine without it has no GPUs.
// It is asked by one goroutine, the Watcher's: a driver that hangs keeps that goroutine
// and nobody else, and is asked no more until it has answered.
package gpu
