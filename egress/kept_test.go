// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"testing"
)

func TestAKeptConnectionIsTakenOnlyWhenNothingIsLeft(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	k := newKept(ours)
	defer k.Close()
	taken := make(chan struct{})
	go func() { k.take(&call{ctx: context.Background()}); close(taken) }()
	select {
	case <-taken:
		t.Fatal("it is taken while nobody has looked whether something is left")
	default:
	}
	read := make(chan error)
	go func() { _, err := bufio.NewReader(k).Peek(1); read <- err }()
	<-taken
	go func() { _, _ = io.WriteString(theirs, "HTTP/1.1 200 OK\r\n") }()
	if err := <-read; !errors.Is(err, errUnasked) {
		t.Errorf("bytes before the call: %v", err)
	}
	if _, err := k.Write([]byte("GET")); err == nil {
		t.Error("and the call goes out on it")
	}
}

func TestAKeptConnectionWorksForItsCall(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	k := newKept(ours)
	defer k.Close()
	read := make(chan error)
	go func() { _, err := k.Read(make([]byte, 9)); read <- err }()
	k.take(&call{ctx: context.Background()})
	go func() { _, _ = k.Write([]byte("GET")) }()
	if _, err := theirs.Read(make([]byte, 9)); err != nil {
		t.Fatal(err)
	}
	_, _ = theirs.Write([]byte("HTTP"))
	if err := <-read; err != nil {
		t.Error(err)
	}
}

func TestNobodyWaitsForAConnectionThatHasEnded(t *testing.T) {
	ours, _ := net.Pipe()
	k := newKept(ours)
	k.Close()
	k.take(&call{ctx: context.Background()})
	ended, end := context.WithCancel(context.Background())
	end()
	other, _ := net.Pipe()
	newKept(other).take(&call{ctx: ended})
}

func TestWhatComesOnAnIdleConnectionIsNotHandedOn(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(k *kept, first, second *call)
		want    error
	}{
		"the answer is over":           {func(k *kept, first, _ *call) { k.release(first) }, errUnasked},
		"it is not over":               {func(*kept, *call, *call) {}, nil},
		"the next call has it already": {func(k *kept, first, second *call) { k.holder = second; k.release(first) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			defer theirs.Close()
			k := newKept(ours)
			first, second := &call{ctx: t.Context()}, &call{ctx: t.Context()}
			k.own(first)
			c.happens(k, first, second)
			go func() { _, _ = io.WriteString(theirs, "marker") }()
			if _, err := k.Read(make([]byte, 9)); !errors.Is(err, c.want) {
				t.Errorf("%v", err)
			}
		})
	}
}
