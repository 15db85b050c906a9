// Keeps NNI's manager alive when an SSH connection to a machine of the remote training service
// breaks. NNI 3.0 has no listener for that error, so that the manager itself ends with the first
// machine that is lost, behind whose back the other machines could go on. Loaded by Node itself:
//
//   NODE_OPTIONS="--require=/path/to/lost_machine.js" nnictl create --config experiment.yml

process.on('uncaughtException', (error) => {
    const ofSsh = ['client-socket', 'client-timeout'].includes(error.level);
    console.error(ofSsh ? `An SSH connection is lost: ${error.message}` : error);
    if (!ofSsh) {
        process.exit(1);
    }
});
