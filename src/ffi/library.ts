import { dlopen, type FFIFunction, type Library } from "bun:ffi";

/**
 * Loads a shared library at its first use, so that commands which need none start without it.
 * @param file the name with its ABI version: the plain `.so` belongs to the dev package
 * @param debianPackage named in the error, as the next step
 * @returns a function that gives the symbols; it throws when the library can't be loaded
 */
export function lazyLibrary<const Fns extends Record<string, FFIFunction>>(
  file: string,
  debianPackage: string,
  functions: Fns,
): () => Library<Fns>["symbols"] {
  let symbols: Library<Fns>["symbols"] | undefined;
  return () => {
    if (symbols === undefined) {
      try {
        symbols = dlopen(file, functions).symbols;
      } catch (cause) {
        throw new Error(`the library ${file} can't be loaded; on Debian: apt install ${debianPackage}`, { cause });
      }
    }
    return symbols;
  };
}
