/** Others get their turn: a long list is gone through in slices, each a millisecond or two. */
export function breathe(): Promise<void> {
  return new Promise(setImmediate);
}
