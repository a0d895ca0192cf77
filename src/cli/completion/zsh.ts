import type { Model, Value, Word } from "./model.ts";

/** For zsh's own completion system (compinit): a file _tartan in a folder of fpath. */
export function zshScript({ commands, flags }: Model): string {
  const cases = commands.map(({ name, options, args }) => {
    const specs = [...options.map(optionSpec), ...args.map((value, at) => quote(`${at + 1}:${action(value)}`))];
    return `    ${name})\n      _arguments -S ${specs.join(" \\\n        ")}\n      ;;`;
  });
  return `#compdef tartan
# zsh completion for tartan; made by: tartan completion zsh
_tartan() {
  local -a commands
  commands=(
${commands.map(({ name, summary }) => `    ${quote(`${name}:${summary}`)}`).join("\n")}
  )
  if ((CURRENT == 2)) && [[ $words[2] != -* ]]; then
    _describe -t commands command commands
    return
  fi
  if [[ $words[2] == -* ]]; then
    _arguments -S ${flags.map(optionSpec).join(" \\\n      ")}
    return
  fi
  shift words
  ((CURRENT--))
  case $words[1] in
${cases.join("\n")}
  esac
}
if [[ $funcstack[1] == _tartan ]]; then _tartan "$@"; else compdef _tartan tartan; fi
`;
}

function optionSpec({ spellings, usage, value }: Word): string {
  const text = `[${usage.replace(/[[\]\\]/g, "\\$&")}]`;
  const taken = value === undefined ? "" : `:${action(value)}`;
  // With = a value may stand behind it, or in the next word.
  const rests = spellings.map((one) =>
    quote(`${one}${taken !== "" && one.startsWith("--") ? "=" : ""}${text}${taken}`),
  );
  return spellings.length === 1
    ? rests.join("")
    : rests.map((rest) => `${quote(`(${spellings.join(" ")})`)}${rest}`).join(" \\\n        ");
}

function action({ name, choices, isFile }: Value): string {
  const title = name.replaceAll(":", "\\:");
  if (isFile) return `${title}:_files`;
  return choices.length === 0 ? `${title}: ` : `${title}:(${choices.join(" ")})`;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
