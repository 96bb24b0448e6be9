// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"context"
	"net"
	"sync"
	"time"
)

// hearOutTime is how long a failed write waits for what the server has said before.
const hearOutTime = 2 * time.Second

// HearOut wraps dial, so that a server that answers in the middle of an upload and
// hangs up is heard out. What is still sent to it comes back as a reset, and where
// net/http meets that before it has read the answer, the answer is lost: in two of
// three uploads to a server that closes at once. Here a failed write ends only when
// reading has ended too, which then comes first.
func HearOut(dial Dial) Dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &heardOut{Conn: conn, over: make(chan struct{})}, nil
	}
}

type heardOut struct {
	net.Conn
	once sync.Once
	over chan struct{} // closed when there is nothing more to read
}

func (c *heardOut) end() { c.once.Do(func() { close(c.over) }) }

// Read implements net.Conn.
func (c *heardOut) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.end()
	}
	return n, err
}

// Write implements net.Conn. The wait has a limit, because HTTP/2 holds a lock while
// it writes that its reader may need to go on.
func (c *heardOut) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		limit := time.NewTimer(hearOutTime)
		defer limit.Stop()
		select {
		case <-c.over:
		case <-limit.C:
		}
	}
	return n, err
}

// Close implements net.Conn.
func (c *heardOut) Close() error {
	c.end()
	return c.Conn.Close()
}

// CloseWrite ends the sending side, as a tunnel does whose agent has said all.
func (c *heardOut) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Conn.Close()
}
