// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// halfPipe is a pipe whose end can be closed for writing only; the other side does
// not notice, like a peer that has gone away.
type halfPipe struct{ net.Conn }

func (halfPipe) CloseWrite() error { return nil }

func TestAHalfOpenTunnelEndsInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, agentsEnd := net.Pipe()
		upstream, _ := net.Pipe()
		began := time.Now()
		done := make(chan struct{})
		go func() {
			join(agent, agent, halfPipe{upstream})
			close(done)
		}()
		agentsEnd.Close() // and the upstream says and hears nothing
		<-done
		if took := time.Since(began); took != halfOpenTime {
			t.Errorf("it took %v", took)
		}
	})
}

func TestATunnelWithoutHalfClosingEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, agentsEnd := net.Pipe()
		upstream, upstreamsEnd := net.Pipe()
		began := time.Now()
		done := make(chan struct{})
		go func() {
			join(agent, agent, upstream)
			close(done)
		}()
		upstreamsEnd.Close()
		<-done
		if _, err := agentsEnd.Read(make([]byte, 1)); err == nil || time.Since(began) != 0 {
			t.Errorf("the agent sees %v after %v", err, time.Since(began))
		}
	})
}
