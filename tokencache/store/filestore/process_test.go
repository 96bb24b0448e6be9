// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/toolgate/toolgate/tokencache/store"
)

// Tests here start the test binary again, as another process: it then does what
// the first variable says to the file that the second one names.
const (
	childTask   = "FILESTORE_CHILD"
	childPath   = "FILESTORE_PATH"
	crashRounds = "FILESTORE_CRASH_ROUNDS" // how often to crash; 10 if unset
)

func TestMain(m *testing.M) {
	switch os.Getenv(childTask) {
	case "hold":
		holdFile(os.Getenv(childPath))
	case "storm":
		storm(os.Getenv(childPath))
	default:
		os.Exit(m.Run())
	}
}

func TestFileOfAnotherProcessIsLockedUntilThatEnds(t *testing.T) {
	path := newPath(t)
	child := start(t, "hold", path)
	if line, err := child.out.ReadString('\n'); err != nil || line != "holding\n" {
		t.Fatalf("the other process: %q, %v", line, err)
	}
	s := New(Config{Path: path, LockWait: time.Millisecond})
	defer s.Close()
	_, err := s.Get(t.Context(), "k")
	wantPlain(t, err, "another process is using the store at "+path)
	if !errors.Is(err, ErrLocked) {
		t.Fatalf("%v does not wrap ErrLocked", err)
	}
	if pid, _ := Holder(path); runtime.GOOS == "linux" && pid != child.cmd.Process.Pid {
		t.Errorf("it is held by process %d, not by %d", child.cmd.Process.Pid, pid)
	}
	child.kill()
	mustPut(t, s, store.Record{Key: "k", Version: 1})
	if pid, name := Holder(path + "-none"); pid != 0 || name != "" {
		t.Errorf("what is not there is held by %d %s", pid, name)
	}
}

// holdFile opens the store and stays until it is killed.
func holdFile(path string) {
	s := New(Config{Path: path})
	fmt.Println(map[bool]string{true: "holding"}[errors.Is(get(s, "k"), store.ErrNotFound)])
	io.Copy(io.Discard, os.Stdin)
}

func get(s *Store, key string) error {
	_, err := s.Get(context.Background(), key)
	return err
}

// A child writes as fast as it can and says what was acknowledged; it is killed
// in the middle of that, again and again, always on the same file.
func TestWhatWasAcknowledgedOutlivesAKill(t *testing.T) {
	rounds := 10
	if n, err := strconv.Atoi(os.Getenv(crashRounds)); err == nil {
		rounds = n
	}
	path := newPath(t)
	random := rand.New(rand.NewPCG(7, 7))
	acknowledged := make(map[string]uint64)
	for range rounds {
		child := start(t, "storm", path)
		child.readWrites(t, random.IntN(400), acknowledged)
		child.kill()
		child.readWrites(t, -1, acknowledged) // what was said before the kill
		checkSurvivors(t, path, acknowledged)
	}
	t.Logf("%d records, %d rounds", len(acknowledged), rounds)
}

const stormers = 8

// storm creates, changes and deletes records for ever, in several goroutines with
// keys of their own. A line on stdout says which version of a key is on the disk.
func storm(path string) {
	s := New(Config{Path: path})
	var all sync.WaitGroup
	for w := range stormers {
		all.Go(func() {
			for i := 0; ; i++ {
				if err := stormOnce(s, fmt.Sprintf("w%d/%d", w, i%20)); err != nil {
					fmt.Println("error", err)
					return
				}
			}
		})
	}
	all.Wait()
}

func stormOnce(s *Store, key string) error {
	ctx := context.Background()
	old, err := s.Get(ctx, key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	next := stormRecord(key, old.Version+1)
	if err := s.Put(ctx, next); err != nil {
		return err
	}
	fmt.Println(key, next.Version)
	return nil
}

// stormRecord is the one right content of that version.
func stormRecord(key string, version uint64) store.Record {
	return store.Record{
		Key: key, Version: version, Index: []string{"all", fmt.Sprint("v", version%3)},
		Value: bytes.Repeat(fmt.Appendf(nil, "%s@%d;", key, version), int(1+version*37%200)),
	}
}

// checkSurvivors opens the file as the next process would.
func checkSurvivors(t *testing.T, path string, acknowledged map[string]uint64) {
	t.Helper()
	s := openStore(t, path)
	defer s.Close()
	checkPages(t, s)
	found, err := s.List(t.Context(), "all", "", 10_000)
	if err != nil {
		t.Fatal(err)
	}
	versions := make(map[string]uint64)
	for _, r := range found {
		versions[r.Key] = r.Version
		if want := stormRecord(r.Key, r.Version); !bytes.Equal(r.Value, want.Value) {
			t.Fatalf("%s, version %d, is torn", r.Key, r.Version)
		}
		if by, err := s.List(t.Context(), fmt.Sprint("v", r.Version%3), "", 10_000); err != nil || !holds(by, r) {
			t.Fatalf("%s is not under its own term, %v", r.Key, err)
		}
	}
	for key, version := range acknowledged {
		if versions[key] < version {
			t.Fatalf("%s: version %d was acknowledged, %d is there", key, version, versions[key])
		}
	}
}

func holds(records []store.Record, r store.Record) bool {
	for _, other := range records {
		if other.Key == r.Key && other.Version == r.Version {
			return true
		}
	}
	return false
}

// child is this test binary at work in another process.
type child struct {
	cmd *exec.Cmd
	out *bufio.Reader
}

func start(t *testing.T, task, path string) *child {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childTask+"="+task, childPath+"="+path)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil { // stays open as long as we live
		t.Fatal(err)
	}
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	c := &child{cmd, bufio.NewReader(out)}
	t.Cleanup(func() { c.kill(); out.Close() })
	return c
}

// kill is SIGKILL: nothing of the child runs any more.
func (c *child) kill() {
	c.cmd.Process.Kill()
	c.cmd.Wait()
}

// readWrites notes up to n acknowledged writes, or all that there are.
func (c *child) readWrites(t *testing.T, n int, acknowledged map[string]uint64) {
	t.Helper()
	for ; n != 0; n-- {
		line, err := c.out.ReadString('\n')
		if err != nil {
			return // the last line may be cut: then nobody was told
		}
		var key string
		var version uint64
		if _, err := fmt.Sscan(line, &key, &version); err != nil {
			t.Fatalf("the child says %q", line)
		}
		acknowledged[key] = max(acknowledged[key], version)
	}
}
