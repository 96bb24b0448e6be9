// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

// admit asks the policy, which sees the address that will really be called. A variable
// stands in it as it is written, so that a rule holds for every connection.
func (g *Gateway) admit(x *exchange) error {
	if g.cfg.Policy == nil {
		return nil
	}
	return g.cfg.Policy.Admit(x.in.Context(), x.caller, x.toolkit, x.in.Method, x.target)
}
