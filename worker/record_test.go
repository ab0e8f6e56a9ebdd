package worker

import (
	"os"
	"path/filepath"
	"testing"
)

func TestJournalKeepsTheLastWholeRecord(t *testing.T) {
	dir := t.TempDir()
	write := func(phase Phase) {
		j, err := openJournal(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer j.close()
		if err := j.append(&Record{Task: "t1", Phase: phase}, phase == PhaseIntent); err != nil {
			t.Fatal(err)
		}
	}
	want := func(phase Phase) {
		t.Helper()
		r, err := readRecord(dir)
		if err != nil || r.Phase != phase {
			t.Fatalf("record %+v, %v; want phase %s", r, err, phase)
		}
	}
	write(PhaseIntent)
	write(PhaseLeased)
	want(PhaseLeased)
	path := filepath.Join(dir, recordFile)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(PhasePreparing)
	longer, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Cut the last line at every byte: what a crash within the write leaves.
	for n := len(whole); n < len(longer)-1; n++ {
		if err := os.WriteFile(path, longer[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := readRecord(dir); err != nil || r.Phase != PhaseLeased && r.Phase != PhasePreparing {
			t.Fatalf("cut at %d: %+v, %v", n, r, err)
		}
	}
	write(PhaseRunning)
	want(PhaseRunning)
}

func TestReadRecordsKeepsStrangersOut(t *testing.T) {
	tasks := t.TempDir()
	for name, content := range map[string]string{
		"good":     `{"version":1,"task":"good","phase":"running"}`,
		"other":    `{"version":1,"task":"elsewhere","phase":"running"}`,
		"newer":    `{"version":99,"task":"newer","phase":"running"}`,
		"rubbish":  `{"version"`,
		".sneaky":  `{"version":1,"task":".sneaky"}`,
		"empty":    ``,
		"justnull": "null\n\n\n",
	} {
		dir := filepath.Join(tasks, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, recordFile), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	recs, errs := readRecords(tasks)
	if len(recs) != 1 || recs[0].Task != "good" {
		t.Errorf("records %+v, want the good one", recs)
	}
	if len(errs) != 5 {
		t.Errorf("errors %v, want one for each unusable folder", errs)
	}
}
