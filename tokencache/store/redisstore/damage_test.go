// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/redistest"
	"github.com/toolgate/toolgate/tokencache/store/storetest"
)

// damages are what others may do to a record in Redis.
var damages = map[string]func(ctx context.Context, c *redis.Client, key string) error{
	"another program's key": func(ctx context.Context, c *redis.Client, key string) error {
		return errors.Join(c.Del(ctx, key).Err(), c.Set(ctx, key, "text", 0).Err())
	},
	"a field is gone": func(ctx context.Context, c *redis.Client, key string) error {
		return c.HDel(ctx, key, fieldValue).Err()
	},
	"a version that is none": func(ctx context.Context, c *redis.Client, key string) error {
		return c.HSet(ctx, key, fieldVersion, "0").Err()
	},
	"terms that are none": func(ctx context.Context, c *redis.Client, key string) error {
		return c.HSet(ctx, key, fieldTerms, "\xff").Err()
	},
}

func TestADamagedRecordIsInNobodyElsesWay(t *testing.T) {
	server := redistest.Start(t)
	admin := redistest.Client(server.Addr)
	defer admin.Close()
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			open := func(t *testing.T, now func() time.Time) store.Store {
				redistest.Flush(t, server.Addr)
				return New(Config{Addresses: []string{server.Addr}, Now: now})
			}
			storetest.RunDamaged(t, open, func(t *testing.T, s store.Store, key string) {
				if err := damage(t.Context(), admin, s.(*Store).recordKey(key)); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// What is due and cannot be read would otherwise be due for ever, and nothing behind it
// would ever be looked at.
func TestADamagedRecordIsLookedAtAgainLater(t *testing.T) {
	s, c := indexed(t)
	mustPut(t, s, store.Record{Key: "k", Version: 1, Index: []string{"term"}, Expires: s.wall().Add(time.Hour)})
	if err := c.Del(t.Context(), s.recordKey("k")).Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.Set(t.Context(), s.recordKey("k"), "text", 0).Err(); err != nil {
		t.Fatal(err)
	}
	age(t, s, c)
	later := s.wall().Add(2 * time.Hour)
	s.now = func() time.Time { return later }
	sweep(t, s)
	due, err := c.ZRangeWithScores(t.Context(), s.leftoversKey(), 0, -1).Result()
	if err != nil || len(due) != 1 || due[0].Score != float64(later.Add(s.grace).UnixMilli()) {
		t.Errorf("%v, %v", due, err)
	}
	if len(list(t, s)) != 0 || len(entries(t, s, c)) != 1 {
		t.Error("it was taken out of the index")
	}
}
