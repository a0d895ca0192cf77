/** Whether a failed system call failed with one of these errno names. */
export function hasCode(error: unknown, ...names: readonly string[]): boolean {
  return error instanceof Error && "code" in error && names.some((name) => name === error.code);
}
