import type { Model, Word } from "./model.ts";

/** For bash 4.4 and later, without the package bash-completion. */
export function bashScript({ commands, flags }: Model): string {
  const values = [
    ...flags.flatMap((word) => valueCases("", word)),
    ...commands.flatMap(({ name, options }) => options.flatMap((word) => valueCases(name, word))),
  ];
  const options = commands.map((each) => `    ${each.name}) words=${quote(spellings(each.options))} ;;`);
  const valued = commands.map((each) => `    ${each.name}) valued=${quote(` ${spellings(each.options, true)} `)} ;;`);
  const places = commands.flatMap(({ name, args }) =>
    args.map(
      ({ choices, isFile }, at) =>
        `      "${name} ${at}") ${isFile ? "files=1" : `words=${quote(choices.join(" "))}`} ;;`,
    ),
  );
  return `# bash completion for tartan; made by: tartan completion bash
_tartan() {
  local current=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD - 1]} command="" option="" words="" files="" valued="" at place=0
  COMPREPLY=()
  # bash takes = for a word of its own
  if [[ $current == "=" ]]; then
    option=$before current=""
  elif [[ $before == "=" ]]; then
    option=\${COMP_WORDS[COMP_CWORD - 2]}
  elif [[ $before == -* ]]; then
    option=$before
  fi
  if ((COMP_CWORD > 1)) && [[ \${COMP_WORDS[1]} != -* ]]; then command=\${COMP_WORDS[1]}; fi
  # one dash in front of a long name is as good as two
  [[ $option == -[!-]?* ]] && option=-$option
  if [[ -n $option ]]; then
    case "$command $option" in
${values.join("\n")}
    *) option="" ;;
    esac
  fi
  if [[ -z $option ]]; then
    if [[ -z $command && $COMP_CWORD == 1 && $current != -* ]]; then
      words=${quote(commands.map(({ name }) => name).join(" "))}
    elif [[ -z $command ]]; then
      words=${quote(spellings(flags))}
    elif [[ $current == -* ]]; then
      case $command in
${options.join("\n")}
      esac
    else
      case $command in
${valued.join("\n")}
      esac
      for ((at = 2; at < COMP_CWORD; at++)); do
        if [[ \${COMP_WORDS[at]} == "=" ]]; then
          ((at++))
        elif [[ \${COMP_WORDS[at]} == -* ]]; then
          [[ $valued == *" \${COMP_WORDS[at]} "* && \${COMP_WORDS[at + 1]} != "=" ]] && ((at++))
        else
          ((place++))
        fi
      done
      case "$command $place" in
${places.join("\n")}
      *) ;;
      esac
    fi
  fi
  if [[ -n $files ]]; then
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  elif [[ -n $words ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  fi
}
complete -F _tartan tartan
`;
}

/** What may follow an option; nothing where that is anything. */
function valueCases(command: string, { spellings: written, value }: Word): string[] {
  if (value === undefined) return [];
  const pattern = written.map((one) => `"${command} ${one}"`).join(" | ");
  return [`    ${pattern}) ${value.isFile ? "files=1" : `words=${quote(value.choices.join(" "))}`} ;;`];
}

function spellings(words: readonly Word[], withValue = false): string {
  return words.flatMap((word) => (withValue && word.value === undefined ? [] : word.spellings)).join(" ");
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
