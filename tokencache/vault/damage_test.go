// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package vault_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/memstore"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// The parts of a sealed record, see seal.Ring: version, id, nonce, ciphertext, tag.
const (
	idAt, nonceAt, boxAt = 1, 9, 21
	tagSize              = 16
)

// damages are what may happen to a record, the error that names it, and the rule
// that agents and operators see.
var damages = map[string]struct {
	change func(whole, others []byte) []byte
	names  func(error) bool
	code   problem.Code
	rule   string
}{
	"another user's record":         {func(_, others []byte) []byte { return others }, isDamaged, problem.StorageUnavailable, "record_damaged"},
	"nothing is left":               {cut(func(int) int { return 0 }), isDamaged, problem.StorageUnavailable, "record_damaged"},
	"cut after the version":         {cut(func(int) int { return idAt }), isDamaged, problem.StorageUnavailable, "record_damaged"},
	"cut in the key's id":           {cut(func(int) int { return idAt + 3 }), isDamaged, problem.StorageUnavailable, "record_damaged"},
	"cut after the key's id":        {cut(func(int) int { return nonceAt }), isDamaged, problem.StorageUnavailable, "record_damaged"},
	"cut in the nonce":              {cut(func(int) int { return nonceAt + 5 }), isDamaged, problem.StorageUnavailable, "record_damaged"},
	"cut after the nonce":           {cut(func(int) int { return boxAt }), isDamaged, problem.StorageUnavailable, "record_damaged"},
	"cut to less than a tag":        {cut(func(int) int { return boxAt + tagSize - 1 }), isDamaged, problem.StorageUnavailable, "record_damaged"},
	"cut to a tag":                  {cut(func(int) int { return boxAt + tagSize }), isDamaged, problem.StorageUnavailable, "record_damaged"},
	"cut in the text":               {cut(func(n int) int { return n / 2 }), isDamaged, problem.StorageUnavailable, "record_damaged"},
	"cut before the tag":            {cut(func(n int) int { return n - tagSize }), isDamaged, problem.StorageUnavailable, "record_damaged"},
	"cut by a byte":                 {cut(func(n int) int { return n - 1 }), isDamaged, problem.StorageUnavailable, "record_damaged"},
	"a byte too many":               {func(whole, _ []byte) []byte { return append(whole, 0) }, isDamaged, problem.StorageUnavailable, "record_damaged"},
	"a bit of the version":          {flip(func(int) int { return 0 }), isNewer, problem.StorageUnavailable, "record_newer"},
	"a bit of the key's id":         {flip(func(int) int { return idAt }), isKeyMissing, problem.KeyMissing, "encryption_key"},
	"a bit of the nonce":            {flip(func(int) int { return nonceAt }), isDamaged, problem.StorageUnavailable, "record_damaged"},
	"a bit of the text":             {flip(func(int) int { return boxAt }), isDamaged, problem.StorageUnavailable, "record_damaged"},
	"a bit of the tag":              {flip(func(n int) int { return n - 1 }), isDamaged, problem.StorageUnavailable, "record_damaged"},
	"sealed by a key that is gone":  {func(_, _ []byte) []byte { return sealedBy(otherKey, `{"v":1}`) }, isKeyMissing, problem.KeyMissing, "encryption_key"},
	"sealed in a later way":         {func(whole, _ []byte) []byte { whole[0] = 2; return whole }, isNewer, problem.StorageUnavailable, "record_newer"},
	"of a later form":               {func(_, _ []byte) []byte { return sealedBy(oneKey, `{"v":2,"scopes":{"hunter2":1}}`) }, isNewer, problem.StorageUnavailable, "record_newer"},
	"of no form":                    {func(_, _ []byte) []byte { return sealedBy(oneKey, `{"access_token":"hunter2"}`) }, isDamaged, problem.StorageUnavailable, "record_damaged"},
	"not JSON":                      {func(_, _ []byte) []byte { return sealedBy(oneKey, `hunter2`) }, isDamaged, problem.StorageUnavailable, "record_damaged"},
	"JSON of other types":           {func(_, _ []byte) []byte { return sealedBy(oneKey, `{"v":1,"id":["hunter2"]}`) }, isDamaged, problem.StorageUnavailable, "record_damaged"},
	"a version that nobody has had": {func(whole, _ []byte) []byte { whole[0] = 0; return whole }, isDamaged, problem.StorageUnavailable, "record_damaged"},
}

func TestEveryDamageHasItsNameAndTouchesNoOtherRecord(t *testing.T) {
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			s := memstore.New(nil)
			v := vault.New(s, ring(t, oneKey))
			saveBoth(t, v)
			mine, others := record(t, s, alice), record(t, s, bob)
			bad := mine.Clone()
			bad.Value, bad.Version = damage.change(bytes.Clone(mine.Value), bytes.Clone(others.Value)), 2
			if err := s.Put(t.Context(), bad); err != nil {
				t.Fatal(err)
			}
			_, err := v.Load(t.Context(), alice)
			if !damage.names(err) || errors.Is(err, connection.ErrNotConnected) || errors.Is(err, store.ErrNotFound) {
				t.Errorf("the error: %v", err)
			}
			p, ok := errors.AsType[*problem.Problem](vault.Problem(err))
			if !ok || p.Code != damage.code || p.Rule != damage.rule || p.HTTPStatus() != 503 || p.RetryAfter <= 0 {
				t.Errorf("the answer: %+v", p)
			}
			if text := fmt.Sprintf("%v %s", err, p.Detail); strings.Contains(text, "hunter2") {
				t.Errorf("it quotes the record: %s", text)
			}
			if now := record(t, s, alice); now.Version != 2 || !bytes.Equal(now.Value, bad.Value) {
				t.Error("the bad record was changed")
			}
			if now := record(t, s, bob); now.Version != 1 || !bytes.Equal(now.Value, others.Value) {
				t.Error("another record was changed")
			}
			if _, err := v.Load(t.Context(), bob); err != nil {
				t.Errorf("another record: %v", err)
			}
		})
	}
}

// Nothing can be got out of it, and so nothing is lost when a new grant takes its place.
func TestARecordThatIsMalformedCanBeReplaced(t *testing.T) {
	s := memstore.New(nil)
	v := vault.New(s, ring(t, oneKey))
	bad := store.Record{Key: nameOf(alice), Version: 1, Value: sealedBy(oneKey, "")}
	if err := s.Put(t.Context(), bad); err != nil {
		t.Fatal(err)
	}
	c, err := v.Load(t.Context(), alice)
	if !errors.Is(err, vault.ErrMalformed) || !reflect.DeepEqual(c, connection.Connection{Key: alice, Version: 1}) {
		t.Fatalf("%+v, %v", c, err)
	}
	c.AccessToken = secret.New("of a new grant")
	if _, err := v.Save(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if c, err = v.Load(t.Context(), alice); err != nil || c.AccessToken.Reveal() != "of a new grant" || c.Version != 2 {
		t.Errorf("%+v, %v", c, err)
	}
}

func saveBoth(t *testing.T, v *vault.Vault) {
	t.Helper()
	for _, key := range []connection.Key{alice, bob} {
		c := full()
		c.Key = key
		if _, err := v.Save(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
}

func nameOf(k connection.Key) string {
	return vault.Name("connection", k.Tenant, k.User, k.Toolkit, k.Account)
}

func record(t *testing.T, s store.Store, k connection.Key) store.Record {
	t.Helper()
	r, err := s.Get(t.Context(), nameOf(k))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func cut(to func(size int) int) func(whole, _ []byte) []byte {
	return func(whole, _ []byte) []byte { return whole[:to(len(whole))] }
}

func flip(at func(size int) int) func(whole, _ []byte) []byte {
	return func(whole, _ []byte) []byte { whole[at(len(whole))] ^= 2; return whole }
}

// sealedBy is alice's record as a vault with that key would have written it.
func sealedBy(key, plain string) []byte {
	r, err := seal.ParseRing(key)
	if err != nil {
		panic(err)
	}
	return r.Seal([]byte(plain), nameOf(alice))
}

func isDamaged(err error) bool {
	return errors.Is(err, seal.ErrDamaged) || errors.Is(err, vault.ErrMalformed)
}

func isKeyMissing(err error) bool {
	_, ok := errors.AsType[*seal.KeyMissingError](err)
	return ok
}

func isNewer(err error) bool {
	_, sealed := errors.AsType[*seal.VersionError](err)
	_, form := errors.AsType[*vault.FormatError](err)
	return sealed || form
}
