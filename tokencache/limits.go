// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import "time"

// CloseLimit is how long Close may take at most: a refresh that has just sent its token
// comes to its answer and saves it, and what the store would not take then is tried once
// more. Whoever gives up earlier throws tokens away that exist nowhere else.
const CloseLimit = requestLimit + saveLimit + prepareLimit + 5*time.Second
