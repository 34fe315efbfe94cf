# SPDX-License-Identifier: ISC
# Completion of palaverctl(8) for bash; install as palaverctl in
# $(pkg-config --variable=completionsdir bash-completion).

_palaverctl()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
	local words=() i

	case $prev in
	-c|-s)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	esac
	# The command's words so far, without the options and their arguments.
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-c|-s) ((i++)) ;;
		-*) ;;
		*) words+=("${COMP_WORDS[i]}") ;;
		esac
	done
	case ${words[*]} in
	'')
		mapfile -t COMPREPLY < <(compgen -W "status ping conf reload stats user session kick key invite conversation message shutdown
			--json -c -s -h -V" -- "$cur")
		;;
	user)
		mapfile -t COMPREPLY < <(compgen -W 'list add passwd lock unlock show revoke' -- "$cur")
		;;
	session)
		mapfile -t COMPREPLY < <(compgen -W 'list kill' -- "$cur")
		;;
	key)
		mapfile -t COMPREPLY < <(compgen -W 'rotate list' -- "$cur")
		;;
	conversation)
		mapfile -t COMPREPLY < <(compgen -W 'list show' -- "$cur")
		;;
	message)
		mapfile -t COMPREPLY < <(compgen -W 'show' -- "$cur")
		;;
	invite)
		mapfile -t COMPREPLY < <(compgen -W 'add list remove' -- "$cur")
		;;
	'invite add')
		mapfile -t COMPREPLY < <(compgen -W '--uses --days' -- "$cur")
		;;
	esac
}
complete -F _palaverctl palaverctl
