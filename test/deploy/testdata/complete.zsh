# Types a line, with \t for tabs, into an interactive zsh with the completion in FOLDER,
# and prints the arguments with which `server` was called:
#
#	zsh -f complete.zsh FOLDER LINE
zmodload zsh/zpty
TERM=dumb zpty typed zsh -f -i
zpty -w typed "PS1='> '; fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -D; server() { print -r -- called: \$* end. }; print up \$((40+2))"
zpty -r typed line '*up 42*'
zpty -w typed "$(print -- "$2")"
zpty -r typed line '*called: * end.*'
print -r -- "${${line##*called: }%% end.*}"
